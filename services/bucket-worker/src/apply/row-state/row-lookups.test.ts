import { ByteWriter, barrierAt, type Lsn, SEQ_PER_ORDINAL } from '@sluice/domain';
import { appendOrdinalRecord, appendRecord, appendTransactionRecord } from '@sluice/op-queue';
import { RowMessage } from '@sluice/pgoutput';
import { bindRow } from '@sluice/sync-rules';
import { describe, expect, test } from 'vitest';
import {
  changesOf,
  deleteMessage,
  ITEMS_OID,
  insertMessage,
  itemColumns,
  itemsPlan,
  itemsRelation,
  MEMBERS_OID,
  streamRecord,
  truncateMessage,
  updateMessage,
} from '../../wal.fixture.ts';
import { StreamState } from '../stream-state.ts';
import { rowLookups } from './row-lookups.ts';
import { TrackedTable } from './tracked-table.ts';

const LSN = 1000n as Lsn;
const item = (id: string) => [id, 'p', 'q', 'body'];
const START = barrierAt(99n as Lsn);

function lookedUp(changes: Uint8Array, options: { isLoading?: boolean; applied?: typeof START } = {}) {
  const state = new StreamState(streamRecord(options.isLoading ? {} : { visibleAfter: 0n as Lsn }));
  const relation = { columns: itemColumns };
  const bound = bindRow(itemsPlan, relation);
  if (bound.kind !== 'bound') throw new Error('the plan fits its table');
  const table = new TrackedTable(state, undefined, bound, relation);
  const readTracked = (_: Uint8Array, view: DataView, start: number) => {
    const oid = view.getUint32(start + 1);
    return { oid, tracked: oid === ITEMS_OID ? [table] : [] };
  };
  const { applied = START } = options;
  const found = rowLookups('stream', { changes, applied }, readTracked, new RowMessage());
  return found?.lookups.map(({ key, before }) => `${key.slice(1)} ${before.lsn} ${(before.seq + 1) / SEQ_PER_ORDINAL}`);
}

describe('the states that a frame is evaluated with', () => {
  const messages = [
    insertMessage(ITEMS_OID, item('a')),
    updateMessage(ITEMS_OID, item('b'), item('b'), 'd'),
    truncateMessage([ITEMS_OID]),
    updateMessage(ITEMS_OID, item('b'), item('c'), 'd'),
    deleteMessage(ITEMS_OID, item('d'), 'd'),
    deleteMessage(MEMBERS_OID, ['m', 'p', 'q']),
  ];
  const changes = changesOf([{ lsn: LSN, ordinal: 1, messages }]);

  test('each key once, before the change that wants it first; rows that are inserted into a whole stream want none', () => {
    expect(lookedUp(changes)).toEqual(['b 1000 2', 'c 1000 4', 'd 1000 5']);
    expect(lookedUp(changes, { isLoading: true })).toEqual(['a 1000 1', 'b 1000 2', 'c 1000 4', 'd 1000 5']);
  });

  test('L3: what is applied wants nothing', () => {
    expect(lookedUp(changes, { applied: { lsn: LSN, seq: 5 * SEQ_PER_ORDINAL - 1 } })).toEqual(['d 1000 5']);
    expect(lookedUp(changes, { applied: barrierAt(LSN) })).toEqual([]);
  });

  test('L1: ordinals that a shard does not have are passed over', () => {
    const out = new ByteWriter();
    appendRecord(out, itemsRelation);
    appendTransactionRecord(out, { commitLsn: LSN, committedAtUs: 0n, ordinal: 3 });
    appendRecord(out, deleteMessage(ITEMS_OID, item('a'), 'd'));
    appendOrdinalRecord(out, 9);
    appendRecord(out, deleteMessage(ITEMS_OID, item('b'), 'd'));
    expect(lookedUp(out.take())).toEqual(['a 1000 3', 'b 1000 9']);
  });

  test('a frame without such tables takes none, and is evaluated at once', () => {
    const others = changesOf([{ lsn: LSN, ordinal: 1, messages: [] }], []);
    expect(lookedUp(others)).toBeUndefined();
  });
});
