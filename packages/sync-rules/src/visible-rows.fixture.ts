import { assert } from '@sluice/errors';
import { bindMembership } from './bind-membership.ts';
import { bindRow } from './bind-row.ts';
import type { StreamPlan } from './plan.ts';
import { type Claims, items, members, type Row } from './random-conditions.fixture.ts';
import { bucketKeysFrom, resolveClaims } from './resolve-claims.ts';
import { relationOf, type Tuple, tupleOf } from './tuple.fixture.ts';

/** Rows by the way they go: the worker's side makes bucket keys and entries, the gateway's side asks for buckets. */
export class Buckets {
  readonly #plan: StreamPlan;
  readonly #rowsByBucket = new Map<string, Set<number>>();
  readonly #valuesByLookup = new Map<string, string[]>();

  constructor(plan: StreamPlan, rows: readonly Row[], memberRows: readonly Row[]) {
    this.#plan = plan;
    const bound = bindRow(plan, relationOf(items));
    assert(bound.kind === 'bound', 'the relation fits');
    rows.forEach((row, id) => {
      const { src, slots } = itemTuple(row, id);
      bound.bucketKeys(src, slots, (disjunct, key) => {
        const bucket = `${disjunct}:${key}`;
        this.#rowsByBucket.set(bucket, (this.#rowsByBucket.get(bucket) ?? new Set()).add(id));
      });
    });
    plan.memberships.forEach((_, index) => {
      this.#addMembers(index, memberRows);
    });
  }

  #addMembers(index: number, rows: readonly Row[]): void {
    const bound = bindMembership(this.#plan, index, relationOf(members));
    assert(bound.kind === 'bound', 'the relation fits');
    rows.forEach((row, id) => {
      const { src, slots } = memberTuple(row, id);
      const entry = bound.entryOf(src, slots);
      if (!entry) return;
      const lookup = `${index}:${entry.lookupKey}`;
      this.#valuesByLookup.set(lookup, [...(this.#valuesByLookup.get(lookup) ?? []), entry.value]);
    });
  }

  /** The ids of the rows that a session with these claims is entitled to, in order. */
  visibleTo(claims: Claims): readonly number[] {
    const lookup = (index: number, key: string) => this.#valuesByLookup.get(`${index}:${key}`) ?? [];
    const buckets = bucketKeysFrom(resolveClaims(this.#plan, claims), lookup);
    const ids = buckets.flatMap(({ disjunct, key }) => [...(this.#rowsByBucket.get(`${disjunct}:${key}`) ?? [])]);
    return [...new Set(ids)].sort((a, b) => a - b);
  }
}

export function itemTuple(row: Row, id: number): Tuple {
  return tupleOf(items.columns.map(({ name }) => (name === 'id' ? String(id) : (row[name] ?? null))));
}

export function memberTuple(row: Row, id: number): Tuple {
  return tupleOf(members.columns.map(({ name }) => (name === 'id' ? String(id) : (row[name] ?? null))));
}
