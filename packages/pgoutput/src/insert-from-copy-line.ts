import type { ByteWriter } from '@sluice/domain';
import { appendInsertHeader } from './append-message.ts';
import { protocolError } from './protocol-error.ts';
import { SLOT } from './row-message.ts';

const BACKSPACE = 0x08;
const TAB = 0x09;
const CARRIAGE_RETURN = 0x0d;
const BACKSLASH = 0x5c;
const NULL_LETTER = 0x4e; // N

/** What the server writes after a backslash (CopyAttributeOutText in copyto.c), by that byte; 0 is no escape of its. */
const unescaped = new Uint8Array(256);
for (const [letter, byte] of [
  ['b', 0x08],
  ['f', 0x0c],
  ['n', 0x0a],
  ['r', 0x0d],
  ['t', 0x09],
  ['v', 0x0b],
  ['\\', BACKSLASH],
] as const)
  unescaped[letter.charCodeAt(0)] = byte;

/** Kind byte and length before each value. */
const VALUE_HEADER_BYTES = 5;

/**
 * Appends the Insert message that the stream would send for a row which COPY ... TO STDOUT gave as the text line
 * `src[start, end)` (default delimiter and NULL, without its newline), so that snapshot and stream share one decoder. `view` must
 * cover the same bytes as `src`.
 * @throws AppError SOURCE_PROTOCOL when the line is not one that a server writes for `columnCount` columns; then `out` is unchanged.
 */
export function insertFromCopyLine(
  src: Uint8Array,
  view: DataView,
  start: number,
  end: number,
  columnCount: number,
  relationOid: number,
  out: ByteWriter,
): void {
  const begin = out.length;
  appendInsertHeader(out, relationOid, columnCount);
  // Escapes only shrink, so this bound lets the loop below write without asking again.
  out.reserve(columnCount * VALUE_HEADER_BYTES + (end - start));
  const written = writeColumns(src, view, start, end, columnCount, out);
  if (written < 0) {
    out.length = begin;
    throw protocolError(`not a COPY line of ${columnCount} columns`, -1 - written - start);
  }
  out.length = written;
}

/**
 * Whether none of four bytes is a backslash or at most a carriage return: most of a table's text is, and four at a time cost
 * little more than one (Warren, Hacker's Delight, 6-1: a zero byte is found by its borrow).
 */
function isPlain(word: number): boolean {
  const backslashes = word ^ 0x5c5c5c5c;
  const borrows = ((word - 0x0e0e0e0e) & ~word) | ((backslashes - 0x01010101) & ~backslashes);
  return (borrows & 0x80808080) === 0;
}

/** Returns the writer's new length, or -1 - offset of the byte that does not belong. */
function writeColumns(
  src: Uint8Array,
  view: DataView,
  start: number,
  end: number,
  columnCount: number,
  out: ByteWriter,
): number {
  const { bytes, view: outView } = out;
  let to = out.length;
  let at = start;
  for (let column = 0; column < columnCount; column++) {
    if (column > 0 && (at >= end || src[at++] !== TAB)) return -1 - at;
    if (end - at >= 2 && src[at] === BACKSLASH && src[at + 1] === NULL_LETTER) {
      bytes[to++] = SLOT.null;
      at += 2;
      continue;
    }
    const header = to;
    to += VALUE_HEADER_BYTES;
    while (at < end) {
      if (end - at >= 4) {
        const word = view.getInt32(at, true);
        if (isPlain(word)) {
          outView.setInt32(to, word, true);
          at += 4;
          to += 4;
          continue;
        }
      }
      let byte = src[at++] as number;
      if (byte <= CARRIAGE_RETURN) {
        if (byte === TAB) {
          at--;
          break;
        }
        // The server escapes these, so a bare one means that lines were cut in the wrong place.
        if (byte >= BACKSPACE) return -at;
      } else if (byte === BACKSLASH) {
        byte = at < end ? (unescaped[src[at++] as number] as number) : 0;
        if (byte === 0) return -at;
      }
      bytes[to++] = byte;
    }
    bytes[header] = SLOT.text;
    outView.setInt32(header + 1, to - header - VALUE_HEADER_BYTES);
  }
  return at === end ? to : -1 - at;
}
