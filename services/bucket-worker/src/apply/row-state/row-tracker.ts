import { type Lsn, type Position, SEQ_SNAPSHOT } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import { fillUnchangedKey, fillUnchangedToast, MESSAGE, OLD, type RowMessage } from '@sluice/pgoutput';
import type { FrameStates, HeldState } from './frame-states.ts';
import type { TrackedTable } from './tracked-table.ts';

/** What a change does to a row of a table that keeps states: the images that the WAL alone would give under FULL. */
export interface TrackedChange {
  readonly old: Uint8Array | undefined;
  readonly fresh: Uint8Array | undefined;
  readonly at: Position;
  /** The new image is the message's new tuple, column by column. */
  readonly isAsSent: boolean;
}

const NO_IMAGE = new Uint8Array(0);

/**
 * Tells the old and new image of a row by its state, and keeps the states (L7, L10). An op at or below the position of its
 * row's state is in a copy that was read later, and changes nothing. While a stream is copied, a row without a state may
 * be in the copy or not: its op then leaves the newest state, and whoever copies the row finds that and leaves it out; so
 * the op counts as if the row had not been there. docs/adr/0004 has the interleavings.
 */
export class RowTracker {
  /** Rows left out since the owner last looked: a column is not known and will not be. */
  incomplete = 0;

  /** Evaluates a streamed change. @throws AppError SOURCE_PROTOCOL for a row without its key or its columns */
  change(table: TrackedTable, states: FrameStates, row: RowMessage, src: Uint8Array, at: Position): TrackedChange {
    if (row.kind === MESSAGE.insert) return this.insert(table, states, row, src, at);
    if (row.kind === MESSAGE.delete) return this.delete(table, states, row, src, at);
    if (row.oldKind === OLD.full) fillUnchangedToast(row);
    else fillUnchangedKey(row);
    const key = table.keyOf(src, row.new);
    const oldKey = row.oldKind === OLD.none ? key : table.keyOf(src, row.old);
    return key === oldKey
      ? this.update(table, states, { row, src, at }, key)
      : this.move(table, states, { row, src, at }, { from: oldKey, to: key });
  }

  /**
   * Evaluates a row of a copy that was read under `point`: at most itself, and the row that it completes. The latter is put at
   * the position of the op that left it, which is above whatever was done before to a row of its key.
   */
  copied(table: TrackedTable, states: FrameStates, row: RowMessage, src: Uint8Array, point: Lsn): TrackedChange[] {
    const at = { lsn: point, seq: SEQ_SNAPSHOT };
    const changes: TrackedChange[] = [];
    const key = table.keyOf(src, row.new);
    const partial = states.atOrigin(table, key);
    if (partial && isNewer(partial.state, at)) changes.push(this.complete(table, states, partial, { row, src }));
    const state = states.get(table, key);
    // An older partial row is of a former point: the copy has what became of it.
    const isUnknown = state === undefined || (state.kind === 'partial' && !isNewer(state, at));
    if (isUnknown) changes.push(putOf(this.keep(table, states, { row, src, at }, key), at));
    // Ops above the point took the copied row away, so it must have come.
    else if (state.since < point) changes.push(putOf(imageOf(table, states, row, src), at));
    return changes;
  }

  private insert(
    table: TrackedTable,
    states: FrameStates,
    row: RowMessage,
    src: Uint8Array,
    at: Position,
  ): TrackedChange {
    const key = table.keyOf(src, row.new);
    const isCopied = isNewer(states.get(table, key), at);
    return isCopied ? nothingAt(at) : putOf(this.keep(table, states, { row, src, at }, key), at);
  }

  private delete(
    table: TrackedTable,
    states: FrameStates,
    row: RowMessage,
    src: Uint8Array,
    at: Position,
  ): TrackedChange {
    const key = table.keyOf(src, row.old);
    return { ...nothingAt(at), old: this.end(table, states, key, at) };
  }

  private update(table: TrackedTable, states: FrameStates, op: Op, key: string): TrackedChange {
    const state = states.get(table, key);
    if (isNewer(state, op.at)) return nothingAt(op.at);
    const fresh = this.lay(table, states, op, { key, over: state, from: key });
    return { old: rowOf(state), fresh, at: op.at, isAsSent: op.row.new.unchangedCount === 0 };
  }

  private move(
    table: TrackedTable,
    states: FrameStates,
    { row, src, at }: Op,
    keys: { readonly from: string; readonly to: string },
  ): TrackedChange {
    const state = states.get(table, keys.from);
    const old = this.end(table, states, keys.from, at);
    if (isNewer(states.get(table, keys.to), at)) return { ...nothingAt(at), old };
    // As RowChanges puts the new row: above the removal of the old one.
    const above = { row, src, at: { lsn: at.lsn, seq: at.seq + 1 } };
    // A newer state of the old key is another row's, which came to that key later.
    const over = isNewer(state, at) ? undefined : state;
    const fresh = this.lay(table, states, above, { key: keys.to, over, from: keys.from });
    return { old, fresh, at, isAsSent: row.new.unchangedCount === 0 };
  }

  /** Ends the row; gives its image, if it had one. */
  private end(table: TrackedTable, states: FrameStates, key: string, at: Position): Uint8Array | undefined {
    const state = states.get(table, key);
    if (isNewer(state, at)) return undefined;
    const tombstone = stateOf('gone', at, state, NO_IMAGE);
    states.set(table, key, table.state.isLoading ? tombstone : undefined);
    return rowOf(state);
  }

  /** Keeps a row that comes with all its columns. */
  private keep(table: TrackedTable, states: FrameStates, op: Op, key: string): Uint8Array {
    const image = imageOf(table, states, op.row, op.src);
    states.set(table, key, stateOf('row', op.at, states.get(table, key), image));
    return image;
  }

  /** Lays an update over what the row was; gives the new image, if all its columns are known. */
  private lay(
    table: TrackedTable,
    states: FrameStates,
    op: Op,
    to: { readonly key: string; readonly over: HeldState | undefined; readonly from: string },
  ): Uint8Array | undefined {
    const { images } = states;
    const { row, src, at } = op;
    const { key, over, from } = to;
    const start = images.length;
    const isFilled = row.new.unchangedCount > 0 && over !== undefined && over.kind !== 'gone';
    const isWhole = isFilled
      ? table.layout.packOver(src, row.new, over.image, images)
      : table.layout.pack(src, row.new, images);
    const image = images.bytes.subarray(start, images.length);
    const before = states.get(table, key);
    if (isWhole) {
      states.set(table, key, stateOf('row', at, before, image));
      return image;
    }
    // A row that is gone, or of a whole stream, without its columns: it was too large to be read when it had them.
    const origin = originOf(table, key, {
      origin: over ? over.origin : table.state.isLoading ? from : undefined,
      from,
    });
    if (origin === undefined) this.incomplete++;
    states.set(table, key, { ...stateOf('partial', at, before, image), origin });
    return undefined;
  }

  private complete(
    table: TrackedTable,
    states: FrameStates,
    partial: { readonly key: string; readonly state: HeldState },
    copied: { readonly row: RowMessage; readonly src: Uint8Array },
  ): TrackedChange {
    const { images } = states;
    const { key, state } = partial;
    const base = imageOf(table, states, copied.row, copied.src);
    const { src, slots } = table.tuple('fresh', state.image);
    const start = images.length;
    if (!table.layout.packOver(src, slots, base, images)) throw incomplete();
    const image = images.bytes.subarray(start, images.length);
    states.set(table, key, stateOf('row', state, state, image));
    return { ...putOf(image, state), isAsSent: false };
  }
}

interface Op {
  readonly row: RowMessage;
  readonly src: Uint8Array;
  readonly at: Position;
}

/**
 * The key that the other columns of a partial row have in the copy. A row that moves before anybody knows under which point
 * it is copied may be there by either key: then the copy completes it by neither, and is given up (L17).
 */
function originOf(
  { state }: TrackedTable,
  key: string,
  { origin, from }: { readonly origin: string | undefined; readonly from: string },
): string | undefined {
  const isAmbiguous = origin !== undefined && from !== key && state.backfillPoint === undefined;
  return isAmbiguous ? NO_KEY : origin;
}
/** No row has an empty key. */
const NO_KEY = '';

/** @param before the state that the key had */
function stateOf(
  kind: HeldState['kind'],
  { lsn, seq }: Position,
  before: HeldState | undefined,
  image: Uint8Array,
): HeldState {
  // A partial row was in no bucket, so that nothing was taken away from one.
  const since = before === undefined || before.kind === 'partial' ? lsn : before.since;
  return { kind, lsn, seq, since, origin: undefined, image };
}

/** The image of a message's new row, which has all its columns. */
function imageOf(table: TrackedTable, { images }: FrameStates, row: RowMessage, src: Uint8Array): Uint8Array {
  const start = images.length;
  if (!table.layout.pack(src, row.new, images)) throw incomplete();
  return images.bytes.subarray(start, images.length);
}

function incomplete(): AppError {
  return new AppError('SOURCE_PROTOCOL', { internal: 'a new row leaves columns unchanged' });
}

function nothingAt(at: Position): TrackedChange {
  return { old: undefined, fresh: undefined, at, isAsSent: false };
}
function putOf(fresh: Uint8Array, at: Position): TrackedChange {
  return { old: undefined, fresh, at, isAsSent: true };
}

function rowOf(state: HeldState | undefined): Uint8Array | undefined {
  return state?.kind === 'row' ? state.image : undefined;
}

function isNewer(state: HeldState | undefined, at: Position): boolean {
  return state !== undefined && (state.lsn > at.lsn || (state.lsn === at.lsn && state.seq >= at.seq));
}
