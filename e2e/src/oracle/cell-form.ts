import type { CellValue } from '@sluice/domain';

/** Built-in types whose form in SQLite is not the text that Postgres prints: docs/types.md. */
const BOOL = 16;
const BYTEA = 17;
const INTEGERS = new Set([20, 21, 23, 26]);
const FLOATS = new Set([700, 701]);
const TIMESTAMPTZ = 1184;
const FLOATS_AS_TEXT = new Set(['NaN', 'Infinity', '-Infinity', '-0']);

/**
 * The documented SQLite form of a value that Postgres prints as `text`. Written from docs/types.md and not from the
 * encoder, so that the two check each other.
 */
export function cellForm(typeOid: number, text: string | null): CellValue {
  if (text === null) return null;
  if (typeOid === BOOL) return text === 't' ? 1 : 0;
  if (typeOid === BYTEA) return new Uint8Array(Buffer.from(text.slice(2), 'hex'));
  if (INTEGERS.has(typeOid)) return safeInteger(BigInt(text));
  if (FLOATS.has(typeOid)) return FLOATS_AS_TEXT.has(text) ? text : Number(text);
  if (typeOid === TIMESTAMPTZ) return text.replace(/\+00(?= BC$|$)/, '+00:00');
  return text;
}

function safeInteger(value: bigint): number | bigint {
  const isSafe = value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER);
  return isSafe ? Number(value) : value;
}
