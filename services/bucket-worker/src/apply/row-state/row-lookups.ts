import { comparePositions, type Lsn, MalformedBytesError, type Position, SEQ_PER_ORDINAL } from '@sluice/domain';
import {
  forEachRecord,
  RECORD_ORDINAL,
  RECORD_TRANSACTION,
  readOrdinalRecord,
  readTransactionRecord,
} from '@sluice/op-queue';
import { fillUnchangedKey, fillUnchangedToast, MESSAGE, OLD, type RowMessage, readRowMessage } from '@sluice/pgoutput';
import type { TrackedTable } from './tracked-table.ts';

/** One state that an evaluation wants. */
export interface RowLookup {
  readonly table: TrackedTable;
  readonly key: string;
  /** Everything before the change that wants it first. */
  readonly before: Position;
}
/** The states that a frame or a part wants, each once, in the order of its changes. */
export interface RowLookups {
  readonly kind: 'stream' | 'snapshot';
  readonly lookups: readonly RowLookup[];
}

/** Which tables keep states of a relation's rows; reads the `R` message in `src[start, end)`. */
export type ReadTracked = (
  src: Uint8Array,
  view: DataView,
  start: number,
  end: number,
) => { readonly oid: number; readonly tracked: readonly TrackedTable[] };

/**
 * The states that evaluating `changes` above the applied position takes, or undefined when none of its relations keeps any. A
 * row that is inserted into a whole stream wants none: whoever had its key before left no state.
 * @throws what reading the records throws
 */
export function rowLookups(
  kind: RowLookups['kind'],
  { changes, applied }: { readonly changes: Uint8Array; readonly applied: Position },
  readTracked: ReadTracked,
  row: RowMessage,
): RowLookups | undefined {
  const view = new DataView(changes.buffer, changes.byteOffset, changes.byteLength);
  const collected = new Collected();
  const trackedByOid = new Map<number, readonly TrackedTable[]>();
  let lsn = 0n as Lsn;
  let ordinal = 0;
  forEachRecord(changes, view, (record, start, end) => {
    if (record === MESSAGE.relation) {
      const { oid, tracked } = readTracked(changes, view, start, end);
      trackedByOid.set(oid, tracked);
    } else if (record === RECORD_TRANSACTION) {
      ({ commitLsn: lsn, ordinal } = readTransactionRecord(changes, start, end));
    } else if (record === RECORD_ORDINAL) {
      ordinal = readOrdinalRecord(view, start, end);
    } else {
      const before = { lsn, seq: ordinal * SEQ_PER_ORDINAL - 1 };
      ordinal++;
      if (record === MESSAGE.truncate || comparePositions(before, applied) < 0) return;
      if (end - start < 5) throw new MalformedBytesError('row message ends early');
      const tables = trackedByOid.get(view.getUint32(start + 1)) ?? [];
      if (tables.length === 0) return;
      readRowMessage(changes, view, start, end, row);
      for (const table of tables) collected.add(table, row, changes, before, kind);
    }
  });
  const isTracked = [...trackedByOid.values()].some((tables) => tables.length > 0);
  return isTracked ? { kind, lookups: collected.lookups } : undefined;
}

class Collected {
  readonly lookups: RowLookup[] = [];
  private readonly keysByTable = new Map<string, Set<string>>();

  add(table: TrackedTable, row: RowMessage, src: Uint8Array, before: Position, kind: RowLookups['kind']): void {
    const wantsInserts = kind === 'snapshot' || table.state.isLoading;
    if (row.kind === MESSAGE.insert && !wantsInserts) return;
    if (row.kind !== MESSAGE.insert && row.oldKind !== OLD.none) this.want(table, table.keyOf(src, row.old), before);
    if (row.kind === MESSAGE.delete) return;
    if (row.oldKind === OLD.full) fillUnchangedToast(row);
    else fillUnchangedKey(row);
    this.want(table, table.keyOf(src, row.new), before);
  }

  private want(table: TrackedTable, key: string, before: Position): void {
    const keys = this.keysByTable.get(table.id) ?? new Set();
    this.keysByTable.set(table.id, keys);
    if (keys.has(key)) return;
    keys.add(key);
    this.lookups.push({ table, key, before });
  }
}
