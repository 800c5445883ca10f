import { lookupIdOf, type MembershipWrite, type StreamRecord } from '@sluice/bucket-store';
import type { Lsn } from '@sluice/domain';
import type { BoundMembership, MembershipEntry, TupleSlotsLike } from '@sluice/sync-rules';

/** Turns the row changes of one membership table of one stream into membership ops. */
export class MembershipEvaluator {
  readonly record: StreamRecord;
  /** Number of the membership set within the stream's plan. */
  readonly membership: number;
  #writes: MembershipWrite[] = [];

  constructor(record: StreamRecord, membership: number) {
    this.record = record;
    this.membership = membership;
  }

  reset(): void {
    this.#writes = [];
  }

  /** A row that goes, or says another thing than before, leaves a tombstone with its old value (L6, L13). */
  change(
    bound: BoundMembership,
    src: Uint8Array,
    old: TupleSlotsLike | undefined,
    fresh: TupleSlotsLike | undefined,
    lsn: Lsn,
    seq: number,
  ): void {
    const was = old && bound.entryOf(src, old);
    const is = fresh && bound.entryOf(src, fresh);
    if (was && is && isSameEntry(was, is)) return;
    if (was) this.#write(was, lsn, seq, false);
    if (is) this.#write(is, lsn, was ? seq + 1 : seq, true);
  }

  #write(entry: MembershipEntry, lsn: Lsn, seq: number, present: boolean): void {
    this.#writes.push({
      stream: this.record.stream,
      membership: this.membership,
      lookup: lookupIdOf(this.record.stream, this.membership, entry.lookupKey),
      position: { lsn, seq },
      rowKey: entry.rowKey,
      value: entry.value,
      present,
    });
  }

  /** The frame's ops, which are then forgotten. */
  finish(into: MembershipWrite[]): void {
    for (const write of this.#writes) into.push(write);
    this.reset();
  }
}

function isSameEntry(a: MembershipEntry, b: MembershipEntry): boolean {
  return (
    a.lookupKey === b.lookupKey &&
    a.value === b.value &&
    a.rowKey.length === b.rowKey.length &&
    a.rowKey.every((byte, i) => byte === b.rowKey[i])
  );
}
