import type { CatalogTable } from './plan.ts';
import { KIND_NULL, KIND_TEXT, type RelationLike, type TupleSlotsLike } from './tuple.ts';

export interface Tuple {
  readonly src: Uint8Array;
  readonly slots: TupleSlotsLike;
}

/** A tuple as a decoder leaves it: the texts lie somewhere inside a larger message. */
export function tupleOf(texts: readonly (string | null)[]): Tuple {
  const parts = texts.map((text) => new TextEncoder().encode(text ?? ''));
  const src = new Uint8Array(7 + parts.reduce((sum, part) => sum + part.length + 4, 0)).fill(0xee);
  const slots = {
    count: texts.length,
    kind: new Uint8Array(texts.length + 3),
    start: new Int32Array(texts.length + 3),
    end: new Int32Array(texts.length + 3),
  };
  let at = 7;
  parts.forEach((part, i) => {
    src.set(part, at);
    slots.kind[i] = texts[i] === null ? KIND_NULL : KIND_TEXT;
    slots.start[i] = at;
    slots.end[i] = at + part.length;
    at += part.length + 4;
  });
  return { src, slots };
}

export function relationOf(table: CatalogTable): RelationLike {
  return { columns: table.columns.map(({ name, typeOid, typmod }) => ({ name, typeOid, typmod })) };
}
