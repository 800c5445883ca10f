import type { QueryParameter } from '@sluice/client';

/** A text that two values share only if they are the same for SQLite and for JavaScript: 1 is not '1', nor 1n. */
export function cellKey(value: QueryParameter | undefined): string {
  if (value instanceof Uint8Array) return `blob:${value.join()}`;
  return `${typeof value}:${Object.is(value, -0) ? '-0' : String(value)}`;
}

/** A text that two lists share only if they hold the same values in the same order. */
export function listKey(values: readonly (QueryParameter | undefined)[]): string {
  return JSON.stringify(values.map(cellKey));
}

export function isSameCell(a: QueryParameter | undefined, b: QueryParameter | undefined): boolean {
  if (Object.is(a, b)) return true;
  return a instanceof Uint8Array && b instanceof Uint8Array && cellKey(a) === cellKey(b);
}
