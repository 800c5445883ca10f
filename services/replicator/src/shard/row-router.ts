import { Hash64 } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import { type RelationMessage, SLOT, type TupleSlots } from '@sluice/pgoutput';
import type { ShardMap } from './shard-map.ts';

/** Part of what a shard map means; another hash needs another map version in every epoch. */
const SEED = 0;

/** Places of a relation's row key columns; empty when the map does not know them in this form of the table. */
export function keyColumnsOf(map: ShardMap, relation: RelationMessage): readonly number[] {
  const names = map.rowKeys[`${relation.schema}.${relation.name}`] ?? [];
  const places = names.map((name) => relation.columns.findIndex((column) => column.name === name));
  return places.includes(-1) ? [] : places;
}

/** Finds a row's shard from the text of its key columns, as the source prints it in copy and stream alike. */
export class RowRouter {
  private readonly shards: number;
  private readonly hash = new Hash64();

  constructor(shards: number) {
    this.shards = shards;
  }

  /**
   * @param fallback has the columns that the tuple leaves unchanged
   * @throws AppError SOURCE_PROTOCOL when a key column has no value
   */
  shardOf(
    keyColumns: readonly number[],
    src: Uint8Array,
    view: DataView,
    tuple: TupleSlots,
    fallback: TupleSlots | undefined,
  ): number {
    let mixed = SEED;
    for (const column of keyColumns) {
      const isThere = tuple.kind[column] !== SLOT.unchanged || column >= tuple.count;
      const from = isThere || !fallback ? tuple : fallback;
      if (column >= from.count || from.kind[column] !== SLOT.text)
        throw new AppError('SOURCE_PROTOCOL', { internal: 'a key column without a value' });
      this.hash.update(src, view, from.start[column] as number, from.end[column] as number, mixed);
      mixed = this.hash.lo;
    }
    return keyColumns.length === 0 ? 0 : mixed % this.shards;
  }
}
