import { ByteWriter } from '@sluice/domain';
import { seededRandom } from '@sluice/testkit';
import { describe, expect, test } from 'vitest';
import { appendInsertMessage } from './append-message.ts';
import { insertFromCopyLine } from './insert-from-copy-line.ts';
import { viewOf } from './testing-bytes.ts';

const utf8 = new TextEncoder();
const random = seededRandom();

/** What the server does to a value in COPY text form (CopyAttributeOutText). */
function copyField(value: string | null): string {
  if (value === null) return '\\N';
  const letters: Record<string, string> = {
    '\b': 'b',
    '\f': 'f',
    '\n': 'n',
    '\r': 'r',
    '\t': 't',
    '\v': 'v',
    '\\': '\\',
  };
  return value.replace(/[\b\f\n\r\t\v\\]/g, (byte) => `\\${letters[byte]}`);
}

function fromLine(line: string, columnCount: number, offset = 0): Uint8Array {
  const bytes = new Uint8Array([...new Uint8Array(offset).fill(9), ...utf8.encode(line), 0x0a]);
  const out = new ByteWriter(16);
  insertFromCopyLine(bytes, viewOf(bytes), offset, bytes.length - 1, columnCount, 77, out);
  return out.take();
}

function insertOf(values: readonly (string | null)[]): Uint8Array {
  const out = new ByteWriter();
  appendInsertMessage(
    out,
    77,
    values.map((value) => (value === null ? null : utf8.encode(value))),
  );
  return out.take();
}

describe('COPY line to Insert', () => {
  test.each<[string, (string | null)[]]>([
    ['plain values', ['1', 'ORD', "O'Hare"]],
    ['NULL beside the empty text and the text \\N', [null, '', '\\N', null]],
    ['every escape', ['\b\f\n\r\t\v\\', '\\\\n', 'a\\tb', '\\.']],
    ['control bytes that are not escaped', ['\u0001\u0007\u000e\u001f\u007f']],
    ['Unicode', ['Zürich 🛬', '日本', '\ufeff']],
    ['one empty column', ['']],
    ['no columns', []],
    ['1,600 columns', Array.from({ length: 1600 }, (_, i) => (i % 2 ? String(i) : null))],
  ])('%s give the message that the stream would send', (_, values) => {
    expect(fromLine(values.map(copyField).join('\t'), values.length, 3)).toEqual(insertOf(values));
  });

  test(`random rows give the message that the stream would send (seed ${random.seed})`, () => {
    const alphabet = ['\t', '\n', '\\', 'N', 'n', 'b', '\b', 'é', '🛫', 'x', '.', '\v', '\f', '\r', '0'];
    for (let round = 0; round < 2000; round++) {
      const values = Array.from({ length: 1 + random.int(0, 4) }, () => {
        if (random.chance(0.2)) return null;
        // Runs of plain text of any length before whatever is escaped.
        const plain = 'plain text, '.slice(random.int(0, 12)).repeat(random.int(0, 2));
        const letters = Array.from({ length: random.int(0, 7) }, () => random.pick(alphabet));
        return plain + letters.join('');
      });
      expect(fromLine(values.map(copyField).join('\t'), values.length)).toEqual(insertOf(values));
    }
  });

  test.each([
    ['a column too few', 'a\tb', 3],
    ['a column too many', 'a\tb\tc', 2],
    ['anything in a row without columns', 'a', 0],
    ['a bare newline', 'a\nb', 1],
    ['a bare carriage return', 'a\rb', 1],
    ['a bare carriage return in a longer text', 'longer text,\rand more of it', 1],
    ['a lone backslash at the end', 'a\\', 1],
    ['an escape that no server writes', 'a\\x41', 1],
    ['an octal escape', '\\101', 1],
    ['the end-of-data mark', '\\.', 1],
    ['text after NULL', '\\Nx', 1],
    ['NULL inside text', 'x\\N', 1],
  ])('L6: %s is SOURCE_PROTOCOL and leaves the output as it was', (_, line, columnCount) => {
    const bytes = utf8.encode(line);
    const out = new ByteWriter();
    out.u8(1);
    expect(() => insertFromCopyLine(bytes, viewOf(bytes), 0, bytes.length, columnCount, 77, out)).toThrow(
      'SOURCE_PROTOCOL',
    );
    expect(out.take()).toEqual(Uint8Array.of(1));
  });
});
