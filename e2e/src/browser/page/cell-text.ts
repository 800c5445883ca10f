import type { CellValue } from '@sluice/domain';

/** A cell as JSON carries it between page and test: its kind, then its digits, text or bytes. */
export type CellText = readonly ['null' | 'number' | 'bigint' | 'string' | 'bytes', string];

export function textFromCell(value: CellValue): CellText {
  if (value === null) return ['null', ''];
  if (typeof value === 'number') return ['number', Object.is(value, -0) ? '-0' : String(value)];
  if (typeof value === 'bigint') return ['bigint', String(value)];
  if (typeof value === 'string') return ['string', value];
  return ['bytes', Array.from(value, (byte) => byte.toString(16).padStart(2, '0')).join('')];
}

export function cellFromText([kind, text]: CellText): CellValue {
  if (kind === 'null') return null;
  if (kind === 'number') return Number(text);
  if (kind === 'bigint') return BigInt(text);
  if (kind === 'string') return text;
  return Uint8Array.from(text.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16));
}
