import type { StreamRecord } from '@sluice/bucket-store';
import { type Lsn, MalformedBytesError, type Position } from '@sluice/domain';
import { RowMessage, readRowMessage, SLOT } from '@sluice/pgoutput';
import { bindRow } from '@sluice/sync-rules';
import { describe, expect, test } from 'vitest';
import {
  deleteMessage,
  type Fields,
  ITEMS_OID,
  insertMessage,
  itemColumns,
  itemsPlan,
  streamRecord,
  updateMessage,
} from '../../wal.fixture.ts';
import { StreamState } from '../stream-state.ts';
import { FrameStates, type HeldState } from './frame-states.ts';
import { RowTracker, type TrackedChange } from './row-tracker.ts';
import { TrackedTable } from './tracked-table.ts';

const POINT = 100n as Lsn;
const at = (lsn: bigint, seq = 65_536): Position => ({ lsn: lsn as Lsn, seq });
const item = (id: string, body: string | undefined = 'body', a = 'p'): Fields => [id, a, 'q', body];

function tableOf(change: Partial<StreamRecord> = {}): TrackedTable {
  const state = new StreamState(streamRecord({ backfillPoint: POINT, ...change }));
  const relation = { columns: itemColumns };
  const bound = bindRow(itemsPlan, relation);
  if (bound.kind !== 'bound') throw new Error('the plan fits its table');
  return new TrackedTable(state, undefined, bound, relation);
}

/** Drives a tracker over the states of one table, each op as a frame of its own. */
class Rows {
  readonly tracker = new RowTracker();
  readonly table: TrackedTable;
  private states = new Map<string, HeldState>();
  private readonly row = new RowMessage();

  constructor(change: Partial<StreamRecord> = {}) {
    this.table = tableOf(change);
  }

  stream(message: Uint8Array, position: Position) {
    const states = this.frame();
    const src = this.read(message);
    const told = this.tell(this.tracker.change(this.table, states, this.row, src, position));
    this.keep(states);
    return told;
  }
  copy(id: string, body: string, point = POINT) {
    const states = this.frame();
    const src = this.read(insertMessage(ITEMS_OID, item(id, body)));
    const told = this.tracker.copied(this.table, states, this.row, src, point).map((change) => this.tell(change));
    this.keep(states);
    return told;
  }
  kinds(): Record<string, string> {
    const named = [...this.states.values()].map((state): [string, string] => [this.idOf(state), state.kind]);
    return Object.fromEntries(named);
  }

  private frame(): FrameStates {
    const byOrigin = new Map(
      [...this.states].flatMap(([key, state]) => (state.origin === undefined ? [] : [[state.origin, { key, state }]])),
    );
    const id = this.table.id;
    return new FrameStates({
      byTable: new Map([[id, this.states]]),
      byOrigin: new Map([[id, byOrigin]]),
      revision: 0n,
      end: undefined,
    });
  }
  private keep(states: FrameStates): void {
    for (const [key, state] of states.changes.get(this.table.id)?.changed ?? []) {
      if (state) this.states.set(key, state);
      else this.states.delete(key);
    }
  }
  private read(message: Uint8Array): Uint8Array {
    const view = new DataView(message.buffer, message.byteOffset, message.length);
    readRowMessage(message, view, 0, message.length, this.row);
    return message;
  }
  private idOf({ image }: HeldState): string {
    return image.length === 0 ? 'gone' : (this.valuesOf(image)[0] ?? '');
  }
  private tell({ old, fresh, at: { lsn, seq } }: TrackedChange) {
    const told = (image: Uint8Array | undefined) => image && this.valuesOf(image).join(' ');
    return { old: told(old), fresh: told(fresh), at: `${lsn} ${seq}` };
  }
  private valuesOf(image: Uint8Array): string[] {
    const { src, slots } = this.table.tuple('old', image);
    return [0, 1, 2, 3].map((i) =>
      slots.kind[i] === SLOT.text ? Buffer.from(src.subarray(slots.start[i], slots.end[i])).toString() : '?',
    );
  }
}

const whole = { visibleAfter: 0n as Lsn };
const insert = (fields: Fields) => insertMessage(ITEMS_OID, fields);
const update = (old: Fields, fresh: Fields) => updateMessage(ITEMS_OID, old, fresh, 'd');
const remove = (fields: Fields) => deleteMessage(ITEMS_OID, fields, 'd');
/** Leaves the body unchanged. */
const without = (id: string, a = 'p'): Fields => [id, a, 'q', undefined];

describe('rows of a whole stream', () => {
  test('L7: the state gives the old image, and what an update leaves unchanged', () => {
    const rows = new Rows(whole);
    expect(rows.stream(insert(item('k')), at(110n))).toEqual({ old: undefined, fresh: 'k p q body', at: '110 65536' });
    const told = rows.stream(update(item('k'), without('k', 'r')), at(120n));
    expect(told).toEqual({ old: 'k p q body', fresh: 'k r q body', at: '120 65536' });
    expect(rows.stream(remove(item('k')), at(130n))).toMatchObject({ old: 'k r q body', fresh: undefined });
    expect(rows.kinds()).toEqual({});
  });

  test('L7: a moved row takes its unchanged columns along, and stands above the removal of the old one', () => {
    const rows = new Rows(whole);
    rows.stream(insert(item('k')), at(110n));
    const told = rows.stream(update(item('k'), without('m')), at(120n));
    expect(told).toEqual({ old: 'k p q body', fresh: 'm p q body', at: '120 65536' });
    expect(rows.kinds()).toEqual({ m: 'row' });
  });

  test('a row that was too large when it came stays out until all its columns are known', () => {
    const rows = new Rows(whole);
    expect(rows.stream(update(item('k'), without('k')), at(110n))).toMatchObject({ old: undefined, fresh: undefined });
    expect(rows.tracker.incomplete).toBe(1);
    rows.stream(update(item('k'), without('m')), at(120n));
    expect(rows.kinds()).toEqual({ m: 'partial' });
    expect(rows.stream(update(item('m'), item('m', 'small')), at(130n))).toMatchObject({ fresh: 'm p q small' });
  });
});

describe('rows of a copy beside the stream', () => {
  test('L10: an op without a state counts as if there had been no row, and the copied row is left out', () => {
    const updated = new Rows();
    expect(updated.stream(update(item('k'), item('k', 'new')), at(110n))).toMatchObject({ old: undefined });
    expect(updated.copy('k', 'old')).toEqual([]);
    const removed = new Rows();
    expect(removed.stream(remove(item('k')), at(110n))).toMatchObject({ old: undefined, fresh: undefined });
    expect(removed.copy('k', 'old')).toEqual([]);
    expect(removed.kinds()).toEqual({ gone: 'gone' });
  });

  test('L10: a copied row completes what an update left unchanged, at the position of the update', () => {
    const rows = new Rows();
    rows.stream(update(item('k'), without('k', 'r')), at(110n));
    expect(rows.copy('k', 'copied')).toEqual([{ old: undefined, fresh: 'k r q copied', at: '110 65536' }]);
    expect(rows.stream(remove(item('k')), at(120n))).toMatchObject({ old: 'k r q copied' });
  });

  test('L10: a row that moved before it was copied is completed under its new key', () => {
    const rows = new Rows();
    rows.stream(update(item('k'), without('m')), at(110n));
    rows.stream(update(item('m'), without('n', 'r')), at(120n));
    expect(rows.copy('m', 'another')).toEqual([]);
    expect(rows.copy('k', 'copied')).toEqual([{ old: undefined, fresh: 'n r q copied', at: '120 65537' }]);
  });

  test('L10: ops that found the row before the point was known need the copied row to add up', () => {
    const rows = new Rows({ backfillPoint: undefined });
    rows.stream(insert(item('k', 'a')), at(90n));
    expect(rows.stream(update(item('k', 'a'), item('k', 'b')), at(110n))).toMatchObject({ old: 'k p q a' });
    expect(rows.copy('k', 'a')).toEqual([{ old: undefined, fresh: 'k p q a', at: '100 0' }]);
    rows.stream(remove(item('k')), at(120n));
    expect(rows.kinds()).toEqual({ gone: 'gone' });
  });

  test('L17: a row that moved before the point was known is completed by neither key', () => {
    const rows = new Rows({ backfillPoint: undefined });
    rows.stream(update(item('k'), without('m')), at(110n));
    expect(rows.copy('m', 'copied')).toEqual([]);
    expect(rows.copy('k', 'copied')).toEqual([]);
    expect(rows.kinds()).toMatchObject({ m: 'partial' });
  });

  test('L10: ops below a later point find its copied row and change nothing', () => {
    const rows = new Rows();
    expect(rows.copy('k', 'late', 200n as Lsn)).toHaveLength(1);
    for (const message of [insert(item('k')), update(item('k'), item('k', 'x')), remove(item('k'))])
      expect(rows.stream(message, at(150n))).toMatchObject({ old: undefined, fresh: undefined });
    expect(rows.stream(remove(item('k')), at(210n))).toMatchObject({ old: 'k p q late' });
  });
});

test('a new row without its columns, and an image of another layout, are refused', () => {
  const rows = new Rows();
  expect(() => rows.stream(insert(without('k')), at(110n))).toThrow('SOURCE_PROTOCOL');
  const { table } = rows;
  for (const image of [[], [SLOT.text], [SLOT.text, 200], [SLOT.null, SLOT.null, SLOT.null, SLOT.null, SLOT.null]])
    expect(() => table.tuple('old', Uint8Array.from(image))).toThrow(MalformedBytesError);
});
