import type { SourceColumn } from './plan.ts';

/** A decoded tuple: where each column's text stands in the message's bytes. */
export interface TupleSlotsLike {
  readonly count: number;
  /** pgoutput's kinds as char codes: 'n' null, 't' text, 'u' unchanged TOAST. */
  readonly kind: Uint8Array;
  readonly start: Int32Array;
  readonly end: Int32Array;
}

/** The part of a pgoutput Relation message that binding needs. */
export interface RelationLike {
  readonly columns: readonly SourceColumn[];
}

export const KIND_NULL = 110;
export const KIND_TEXT = 116;

/** Why a relation on the wire is not the one that a plan was compiled for: the stream needs compiling again. */
export interface RelationMismatch {
  readonly kind: 'mismatch';
  /** Columns that the plan reads and the relation does not have. */
  readonly missing: readonly string[];
  /** Columns whose type or type modifier is another. */
  readonly changed: readonly string[];
}

/** Finds columns of a plan in a relation by name, and collects what does not fit. */
export class ColumnFinder {
  readonly #relation: RelationLike;
  readonly #missing = new Set<string>();
  readonly #changed = new Set<string>();

  constructor(relation: RelationLike) {
    this.#relation = relation;
  }

  indexOf(column: SourceColumn): number {
    const index = this.#relation.columns.findIndex(({ name }) => name === column.name);
    const found = this.#relation.columns[index];
    if (!found) this.#missing.add(column.name);
    else if (found.typeOid !== column.typeOid || found.typmod !== column.typmod) this.#changed.add(column.name);
    return index;
  }

  get mismatch(): RelationMismatch | undefined {
    if (this.#missing.size === 0 && this.#changed.size === 0) return undefined;
    return { kind: 'mismatch', missing: [...this.#missing], changed: [...this.#changed] };
  }
}
