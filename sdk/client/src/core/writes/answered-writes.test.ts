import { describe, expect, test } from 'vitest';
import { feed, memoryDatabase, replicaOn } from '../../testing/replica-fixture.ts';
import { HELD, newWritesSource } from '../../testing/write-fixtures.ts';
import type { WriteOperation } from '../../types.ts';
import { rowsFromFrame } from '../query/frame.ts';
import type { Replica, Written } from '../store/replica.ts';
import type { AskedWrite } from './answered-writes.ts';
import { decodeFrames, encodeFrames } from './stored-frames.ts';

const ask = (tab: string, call: number, oldestOpen = call): AskedWrite => ({ tab, call, oldestOpen });
const counted: WriteOperation[] = [{ sql: 'UPDATE notes SET count = count + 1 WHERE id = 1 RETURNING id, count' }];
const resultsOf = ({ results }: Written): unknown[] => results.map(rowsFromFrame);

async function bench(): Promise<{ replica: Replica; reopened: () => Replica; kept: (tab: string) => number }> {
  const db = await memoryDatabase();
  const source = newWritesSource();
  const replica = replicaOn(db);
  feed(replica, [source.schemaMessage()]);
  feed(replica, source.checkpointMessages({ held: new Set(), wanted: HELD, replaced: new Set(), reset: true }));
  replica.write([{ insert: 'notes', values: { id: 1, count: 0 } }]);
  const kept = (tab: string): number => {
    let n = 0;
    db.forEachRow('SELECT count(*) FROM _sluice_answered WHERE tab = ?', [tab], (row) => {
      n = row.int(0);
    });
    return n;
  };
  return { replica, reopened: () => replicaOn(db), kept };
}

describe('writes that a tab asks for again', () => {
  test('L14: one is done once, and answered as it was, by the next owner of the database as well', async () => {
    const { replica, reopened } = await bench();
    expect(resultsOf(replica.write(counted, ask('a', 7)))).toEqual([[{ id: 1, count: 1 }]]);
    const next = reopened();
    const again = next.write(counted, ask('a', 7));
    expect(resultsOf(again)).toEqual([[{ id: 1, count: 1 }]]);
    expect(again.changedTables.size).toBe(0);
    expect(next.pendingCount).toBe(2);
    expect(resultsOf(next.write(counted, ask('b', 7)))).toEqual([[{ id: 1, count: 2 }]]);
    expect(resultsOf(next.write(counted, ask('a', 8)))).toEqual([[{ id: 1, count: 3 }]]);
  });

  test('one that changed no row is remembered too, and one that failed is not', async () => {
    const { replica, kept } = await bench();
    expect(replica.write([{ delete: 'notes', key: { id: 99 } }], ask('a', 1)).changedTables.size).toBe(0);
    expect(() => replica.write([{ insert: 'notes', values: { id: 1 } }], ask('a', 2, 1))).toThrow(
      'CLIENT_WRITE_INVALID',
    );
    expect(kept('a')).toBe(1);
  });

  test('L16: answers are kept as long as they can be asked for, and no longer', async () => {
    const { replica, kept } = await bench();
    for (let call = 1; call <= 50; call++) replica.write(counted, ask('a', call, Math.max(1, call - 9)));
    replica.write(counted, ask('b', 1));
    expect([kept('a'), kept('b')]).toEqual([10, 1]);
    expect(replica.answeredTabs()).toEqual(['a', 'b']);
    replica.forgetTab('a');
    expect(replica.answeredTabs()).toEqual(['b']);
  });

  test('frames come back as they were stored', async () => {
    const { replica } = await bench();
    const sql =
      "UPDATE notes SET title = 'é😀', body = x'00ff', score = 1.5, count = 9007199254740993 RETURNING *, NULL AS n";
    const { results } = replica.write([...counted, { sql }, { insert: 'notes', values: { id: 2 } }]);
    expect(decodeFrames(encodeFrames(results))).toEqual(results);
    expect(decodeFrames(encodeFrames([]))).toEqual([]);
  });
});
