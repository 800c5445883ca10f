import { assert } from '@sluice/errors';
import type { RowFilter } from './plan.ts';
import { type ColumnFinder, KIND_NULL, KIND_TEXT, type TupleSlotsLike } from './tuple.ts';

const ACCEPT_NULL = 0;
const ACCEPT_NOT_NULL = 1;
const ACCEPT_EQUAL = 2;
const ACCEPT_DIFFERENT = 3;

/** A row filter bound to a relation: compares bytes in place. */
export interface BoundFilter {
  readonly index: number;
  readonly accepts: number;
  readonly texts: readonly Uint8Array[];
}

export function bindFilters(filters: readonly RowFilter[], finder: ColumnFinder): readonly BoundFilter[] {
  return filters.map((filter) => ({ index: finder.indexOf(filter.column), ...conditionOf(filter) }));
}

function conditionOf(filter: RowFilter): Omit<BoundFilter, 'index'> {
  const utf8 = new TextEncoder();
  switch (filter.kind) {
    case 'is-null':
      return { accepts: ACCEPT_NULL, texts: [] };
    case 'is-not-null':
      return { accepts: ACCEPT_NOT_NULL, texts: [] };
    case 'equals':
      return { accepts: ACCEPT_EQUAL, texts: [utf8.encode(filter.text)] };
    case 'one-of':
      return { accepts: ACCEPT_EQUAL, texts: filter.texts.map((text) => utf8.encode(text)) };
    case 'not-equals':
      return { accepts: ACCEPT_DIFFERENT, texts: [utf8.encode(filter.text)] };
  }
}

/** Whether the row satisfies every filter; NULL satisfies IS NULL alone. */
export function satisfies(filters: readonly BoundFilter[], src: Uint8Array, slots: TupleSlotsLike): boolean {
  for (let i = 0; i < filters.length; i++) {
    const { index, accepts, texts } = filters[i] as BoundFilter;
    const isText = isPresent(slots, index);
    if (accepts === ACCEPT_NULL) {
      if (isText) return false;
    } else if (!isText) return false;
    else if (accepts !== ACCEPT_NOT_NULL) {
      const start = slots.start[index] as number;
      const end = slots.end[index] as number;
      if (isAmong(texts, src, start, end) !== (accepts === ACCEPT_EQUAL)) return false;
    }
  }
  return true;
}

/** Whether a column has a value. A value that the message left out must have been filled in from the old row (L7). */
export function isPresent(slots: TupleSlotsLike, index: number): boolean {
  const kind = slots.kind[index];
  if (kind === KIND_TEXT) return true;
  assert(kind === KIND_NULL, 'a tuple holds neither text nor NULL where the plan reads it');
  return false;
}

function isAmong(texts: readonly Uint8Array[], src: Uint8Array, start: number, end: number): boolean {
  for (let i = 0; i < texts.length; i++) if (isEqual(texts[i] as Uint8Array, src, start, end)) return true;
  return false;
}

function isEqual(text: Uint8Array, src: Uint8Array, start: number, end: number): boolean {
  if (text.length !== end - start) return false;
  for (let i = 0; i < text.length; i++) if (text[i] !== src[start + i]) return false;
  return true;
}
