import type { RowStateKind, RowStateWrite } from '@sluice/bucket-store';
import { ByteWriter, type Lsn, type Position, type StreamNo } from '@sluice/domain';
import type { TrackedTable } from './tracked-table.ts';

/** What is known of one row: an image, or that it is gone. */
export interface HeldState {
  readonly kind: RowStateKind;
  readonly lsn: Lsn;
  readonly seq: number;
  /** See RowState of the bucket store. */
  readonly since: Lsn;
  /** Of a partial row: the key that it has in the copy, where its other columns are. */
  readonly origin: string | undefined;
  readonly image: Uint8Array;
}

/** States of the rows that a frame or a part changes, as they are before it. A row without one has none. */
export interface KnownRows {
  /** By table and key. */
  readonly byTable: ReadonlyMap<string, ReadonlyMap<string, HeldState>>;
  /** Partial rows by table and origin, with their own keys. */
  readonly byOrigin: ReadonlyMap<string, ReadonlyMap<string, { readonly key: string; readonly state: HeldState }>>;
  readonly revision: bigint;
  /** States were read for changes up to here only; undefined for all of them (L16). */
  readonly end: Position | undefined;
}

/** What a frame or a part does to the states of one table. */
export interface TableChanges {
  readonly stream: StreamNo;
  readonly set: number | undefined;
  /** A TRUNCATE voided whatever is not in `changed`. */
  isTruncated: boolean;
  /** By key; undefined where no state is left. */
  readonly changed: Map<string, HeldState | undefined>;
}
/** By table. */
export type StateChanges = ReadonlyMap<string, TableChanges>;

/** The states of rows while a frame is evaluated. */
export class FrameStates {
  readonly changes = new Map<string, TableChanges>();
  /** Images of the frame, one after the other; a state's is a view of it. */
  readonly images = new ByteWriter(1 << 12);
  private readonly known: KnownRows;

  constructor(known: KnownRows) {
    this.known = known;
  }

  get(table: TrackedTable, key: string): HeldState | undefined {
    const changes = this.changes.get(table.id);
    if (changes?.changed.has(key)) return changes.changed.get(key);
    return changes?.isTruncated ? undefined : this.known.byTable.get(table.id)?.get(key);
  }

  /** The partial row whose other columns are at `origin` in the copy. */
  atOrigin(table: TrackedTable, origin: string): { readonly key: string; readonly state: HeldState } | undefined {
    return this.known.byOrigin.get(table.id)?.get(origin);
  }

  set(table: TrackedTable, key: string, state: HeldState | undefined): void {
    this.changesOf(table).changed.set(key, state);
  }

  truncate(table: TrackedTable): void {
    const changes = this.changesOf(table);
    changes.isTruncated = true;
    changes.changed.clear();
  }

  private changesOf(table: TrackedTable): TableChanges {
    let changes = this.changes.get(table.id);
    if (!changes) {
      changes = { stream: table.state.stream, set: table.set, isTruncated: false, changed: new Map() };
      this.changes.set(table.id, changes);
    }
    return changes;
  }
}

const NO_POSITION: Position = { lsn: 0n as Lsn, seq: 0 };
const NO_IMAGE = new Uint8Array(0);

/** The changes as the store takes them. What a TRUNCATE voided needs no writing: it is read as void. */
export function stateWrites(changes: StateChanges): RowStateWrite[] {
  const writes: RowStateWrite[] = [];
  for (const { stream, set: membership, changed } of changes.values())
    for (const [key, state] of changed) {
      // Written out, since spreading costs more than all the rest.
      writes.push({
        stream,
        membership,
        key,
        kind: state ? state.kind : 'absent',
        position: state ?? NO_POSITION,
        sinceLsn: state ? state.since : NO_POSITION.lsn,
        origin: state?.origin,
        image: state ? state.image : NO_IMAGE,
      });
    }
  return writes;
}
