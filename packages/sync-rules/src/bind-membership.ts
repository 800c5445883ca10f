import { ByteWriter } from '@sluice/domain';
import { assert } from '@sluice/errors';
import { cellEncoderFor } from '@sluice/pg-values';
import { type BoundParam, keyFromRow } from './param-key.ts';
import type { StreamPlan } from './plan.ts';
import { bindFilters, isPresent, satisfies } from './row-filter.ts';
import { ColumnFinder, type RelationLike, type RelationMismatch, type TupleSlotsLike } from './tuple.ts';

/** What one membership row says: sessions whose claims give `lookupKey` reach the buckets of `value`. */
export interface MembershipEntry {
  readonly lookupKey: string;
  readonly value: string;
  /** Cells of the row's primary key: which entry a later change of the row replaces. */
  readonly rowKey: Uint8Array;
}

/** One membership of a stream bound to one version of its table's relation. */
export interface BoundMembership {
  readonly kind: 'bound';
  /** Undefined when the row is no member: a filter fails, or a column that is compared is NULL. */
  entryOf(src: Uint8Array, slots: TupleSlotsLike): MembershipEntry | undefined;
  /** The row key alone; needs only the primary key's columns. */
  rowKeyOf(src: Uint8Array, slots: TupleSlotsLike): Uint8Array;
}

/** Binds `plan.memberships[membership]` to a relation of the membership's table. */
export function bindMembership(
  plan: StreamPlan,
  membership: number,
  relation: RelationLike,
): BoundMembership | RelationMismatch {
  const member = plan.memberships[membership];
  assert(member, 'the plan has no such membership');
  const finder = new ColumnFinder(relation);
  const filters = bindFilters(member.filters, finder);
  const lookup = member.lookup.map(({ column, type }): BoundParam => ({ index: finder.indexOf(column), type }));
  const output: readonly BoundParam[] = [{ index: finder.indexOf(member.output.column), type: member.output.type }];
  const key = member.key.map((column) => ({ index: finder.indexOf(column), encode: cellEncoderFor(column.typeOid) }));
  const scratch = new ByteWriter(64);

  function rowKeyOf(src: Uint8Array, slots: TupleSlotsLike): Uint8Array {
    assert(slots.count === relation.columns.length, 'a tuple has another number of columns than its relation');
    scratch.reset();
    for (const { index, encode } of key) {
      assert(isPresent(slots, index), 'a primary key column is NULL');
      encode(src, slots.start[index] as number, slots.end[index] as number, scratch);
    }
    return scratch.take();
  }

  function entryOf(src: Uint8Array, slots: TupleSlotsLike): MembershipEntry | undefined {
    assert(slots.count === relation.columns.length, 'a tuple has another number of columns than its relation');
    if (!satisfies(filters, src, slots)) return undefined;
    const lookupKey = keyFromRow(lookup, src, slots);
    const value = keyFromRow(output, src, slots);
    if (lookupKey === undefined || value === undefined) return undefined;
    return { lookupKey, value, rowKey: rowKeyOf(src, slots) };
  }

  return finder.mismatch ?? { kind: 'bound', entryOf, rowKeyOf };
}
