import { isCode } from '@sluice/errors';
import { seededRandom, testConfig } from '@sluice/testkit';
import { expect, test } from 'vitest';
import { catalog } from './catalog.fixture.ts';
import { parseAndCompile } from './parse-and-compile.ts';

const random = seededRandom();
const runs = testConfig().lane === 'long' ? 50_000 : 1_500;

const SEED_FILE = `version: 1
streams:
  mine:
    query: |
      SELECT id, t.title AS "Na me", done FROM public.tasks AS t
      WHERE (owner_id = auth.user_id() OR team_id IN (SELECT m.team_id FROM team_members m
        WHERE m.user_id = auth.claim('a', 'b')::uuid AND left_at IS NULL))
        AND NOT (status IN ('é😀', 'x') OR team_id <> -7) -- c
  other: { query: "SELECT * FROM \\"Große Äpfel\\" WHERE id = 1", table: 'x''y' }
`;

const PIECES = [
  ...Array.from('()\'"{}[]|>-:,&*!?#%@`$;=<>.\\\n\t 0é😀'),
  'NOT ',
  'AND',
  'OR ',
  'NULL',
  'SELECT ',
  'IN (',
  'auth.claim',
  '::int',
  '/*',
  '$$',
  '--',
  "E'\\x00'",
  "U&'\\D800'",
  'LIMIT 1',
  'id',
];

test(`L16: no text makes the compiler throw, or name a place outside the file (seed ${random.seed})`, async () => {
  for (let run = 0; run < runs; run++) {
    const text = mutated(SEED_FILE);
    const result = await parseAndCompile(text, catalog).catch((error: unknown) =>
      expect.fail(`${String(error)}\n${text}`),
    );
    const lines = text.split('\n');
    for (const found of result.kind === 'ok' ? result.warnings : result.diagnostics) {
      expect(isCode(found.code)).toBe(true);
      expect(found.line).toBeLessThanOrEqual(lines.length);
      expect(found.column).toBeLessThanOrEqual((lines[found.line - 1] ?? '').length + 1);
      const isForward = found.endLine > found.line || (found.endLine === found.line && found.endColumn >= found.column);
      expect(isForward, text).toBe(true);
    }
    if (result.kind === 'invalid') expect(result.diagnostics.length).toBeGreaterThan(0);
  }
}, 600_000);

function mutated(file: string): string {
  let text = file;
  for (let i = random.int(1, 4); i > 0; i--) {
    const at = random.int(0, text.length);
    const kind = random.int(0, 3);
    const length = random.chance(0.8) ? random.int(1, 4) : random.int(1, 60);
    const piece = random.pick(PIECES);
    if (kind === 0) text = text.slice(0, at) + text.slice(at + length);
    else if (kind === 1) text = text.slice(0, at) + piece + text.slice(at);
    else if (kind === 2) text = text.slice(0, at) + piece + text.slice(at + length);
    else text = text.slice(0, at) + text.slice(at, at + length).repeat(random.int(2, 5)) + text.slice(at + length);
  }
  return text;
}
