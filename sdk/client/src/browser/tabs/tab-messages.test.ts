import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { isOfThisVersion, parseLobbyMessage, TABS_VERSION } from './tab-messages.ts';

/** The declarations without comments and layout. */
function declarationsOf(...files: readonly string[]): string {
  const text = files.map((file) => readFileSync(path.join(import.meta.dirname, file), 'utf8')).join('\n');
  return text.replace(/\/\*\*?[\s\S]*?\*\/|\/\/.*$/gm, '').replace(/\s+/g, ' ');
}

test('what tabs tell each other belongs to its version: whoever changes it raises TABS_VERSION, and this hash', () => {
  const hash = createHash('sha256').update(declarationsOf('tab-messages.ts', '../rpc.ts', '../../core/query/frame.ts'));
  expect([TABS_VERSION, hash.digest('hex').slice(0, 16)]).toEqual([1, 'a355945b967377b2']);
});

test('what is no message of any version is passed over', () => {
  for (const data of [undefined, null, 1, 'who', {}, { kind: 'who' }, { sluice: '1', kind: 'who' }, { sluice: 1 }, []])
    expect(parseLobbyMessage(data)).toBeUndefined();
  const other = parseLobbyMessage({ sluice: TABS_VERSION + 1, kind: 'leader', tabs: [] });
  expect(other && isOfThisVersion(other)).toBe(false);
});
