import { type ByteWriter, writeNullCell } from '@sluice/domain';
import { assert } from '@sluice/errors';
import { type CellEncoder, cellEncoderFor } from '@sluice/pg-values';
import { type BoundParam, keyFromRow } from './param-key.ts';
import type { StreamPlan } from './plan.ts';
import { type BoundFilter, bindFilters, isPresent, satisfies } from './row-filter.ts';
import { ColumnFinder, type RelationLike, type RelationMismatch, type TupleSlotsLike } from './tuple.ts';

/** A stream's plan bound to one version of its table's relation; belongs to one thread, keeps no row. */
export interface BoundStream {
  readonly kind: 'bound';
  /**
   * Appends the cells of the client table's columns, key columns first (L8), and returns the key's length in bytes.
   * @throws AppError SOURCE_VALUE when a value is not of its type; `out` is then as it was
   */
  encodeRow(src: Uint8Array, slots: TupleSlotsLike, out: ByteWriter): number;
  /** Appends the cells of the row key alone; needs only the key's columns. Throws as encodeRow. */
  encodeKey(src: Uint8Array, slots: TupleSlotsLike, out: ByteWriter): void;
  /** Visits each bucket that the row belongs to, at most one a disjunct; `key` is '' where there are no parameters. */
  bucketKeys(src: Uint8Array, slots: TupleSlotsLike, visit: (disjunct: number, key: string) => void): void;
}

/** Binds the plan to a relation of its source table; columns that the plan does not read may be anything. */
export function bindRow(plan: StreamPlan, relation: RelationLike): BoundStream | RelationMismatch {
  const finder = new ColumnFinder(relation);
  const cells = plan.table.columns.map(({ source, baseTypeOid }) => ({
    index: finder.indexOf(source),
    encode: cellEncoderFor(baseTypeOid),
  }));
  const disjuncts = plan.buckets.map(({ filters, params }) => ({
    filters: bindFilters(filters, finder),
    params: params.map(({ column, type }) => ({ index: finder.indexOf(column), type })),
  }));
  const { keyColumns } = plan.table;
  return finder.mismatch ?? new BoundRow({ cells, disjuncts, keyColumns, columnCount: relation.columns.length });
}

interface Cell {
  readonly index: number;
  readonly encode: CellEncoder;
}
interface Disjunct {
  readonly filters: readonly BoundFilter[];
  readonly params: readonly BoundParam[];
}
interface Binding {
  readonly cells: readonly Cell[];
  readonly disjuncts: readonly Disjunct[];
  readonly keyColumns: number;
  readonly columnCount: number;
}

class BoundRow implements BoundStream {
  readonly kind = 'bound';
  readonly #cells: readonly Cell[];
  readonly #disjuncts: readonly Disjunct[];
  readonly #keyColumns: number;
  readonly #columnCount: number;

  constructor({ cells, disjuncts, keyColumns, columnCount }: Binding) {
    this.#cells = cells;
    this.#disjuncts = disjuncts;
    this.#keyColumns = keyColumns;
    this.#columnCount = columnCount;
  }

  encodeRow(src: Uint8Array, slots: TupleSlotsLike, out: ByteWriter): number {
    assert(slots.count === this.#columnCount, 'a tuple has another number of columns than its relation');
    const begin = out.length;
    try {
      encodeCells(this.#cells, 0, this.#keyColumns, src, slots, out);
      const keyBytes = out.length - begin;
      encodeCells(this.#cells, this.#keyColumns, this.#cells.length, src, slots, out);
      return keyBytes;
    } catch (error) {
      out.length = begin;
      throw error;
    }
  }

  encodeKey(src: Uint8Array, slots: TupleSlotsLike, out: ByteWriter): void {
    assert(slots.count === this.#columnCount, 'a tuple has another number of columns than its relation');
    encodeCells(this.#cells, 0, this.#keyColumns, src, slots, out);
  }

  bucketKeys(src: Uint8Array, slots: TupleSlotsLike, visit: (disjunct: number, key: string) => void): void {
    assert(slots.count === this.#columnCount, 'a tuple has another number of columns than its relation');
    const disjuncts = this.#disjuncts;
    for (let i = 0; i < disjuncts.length; i++) {
      const { filters, params } = disjuncts[i] as Disjunct;
      if (!satisfies(filters, src, slots)) continue;
      const key = keyFromRow(params, src, slots);
      if (key !== undefined) visit(i, key);
    }
  }
}

function encodeCells(
  cells: readonly Cell[],
  from: number,
  to: number,
  src: Uint8Array,
  slots: TupleSlotsLike,
  out: ByteWriter,
): void {
  for (let i = from; i < to; i++) {
    const { index, encode } = cells[i] as Cell;
    if (isPresent(slots, index)) encode(src, slots.start[index] as number, slots.end[index] as number, out);
    else writeNullCell(out);
  }
}
