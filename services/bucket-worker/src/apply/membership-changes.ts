import { lookupIdOf, type MembershipWrite, type TruncateWrite } from '@sluice/bucket-store';
import type { Position } from '@sluice/domain';
import type { MembershipEntry } from '@sluice/sync-rules';
import type { StreamState } from './stream-state.ts';

/** Membership ops and TRUNCATEs of one frame. Rare beside rows, so these are plain objects. */
export class MembershipChanges {
  writes: MembershipWrite[] = [];
  truncates: TruncateWrite[] = [];

  reset(): void {
    this.writes = [];
    this.truncates = [];
  }

  /** Ends the old entry and begins the new one, if they differ (L6); `at` is the change's position. */
  change(
    state: StreamState,
    set: number,
    entries: { readonly old: MembershipEntry | undefined; readonly new: MembershipEntry | undefined },
    at: Position,
  ): void {
    if (entries.old && entries.new && isSameEntry(entries.old, entries.new)) return;
    // The new one stands above the old one: where only the value changes they are ops of one (lookup, row key).
    if (entries.old) this.write(state, set, entries.old, false, at);
    if (entries.new) this.write(state, set, entries.new, true, { lsn: at.lsn, seq: at.seq + (entries.old ? 1 : 0) });
  }

  private write(state: StreamState, set: number, entry: MembershipEntry, present: boolean, position: Position): void {
    const { stream } = state;
    const lookup = lookupIdOf(stream, set, entry.lookupKey);
    const { rowKey, value } = entry;
    this.writes.push({ stream, membership: set, lookup, position, rowKey, value, present });
  }

  /** Voids a stream's own table (`set` undefined) or one membership set, in this frame and in the store. */
  truncate(state: StreamState, set: number | undefined, position: Position): void {
    const { stream } = state;
    if (set !== undefined)
      this.writes = this.writes.filter((write) => write.stream !== stream || write.membership !== set);
    // Within a frame only the last one matters: no checkpoint lies between them.
    this.truncates = this.truncates.filter((known) => known.stream !== stream || known.membership !== set);
    this.truncates.push({ stream, membership: set, position });
  }
}

function isSameEntry(a: MembershipEntry, b: MembershipEntry): boolean {
  return a.lookupKey === b.lookupKey && a.value === b.value && Buffer.compare(a.rowKey, b.rowKey) === 0;
}
