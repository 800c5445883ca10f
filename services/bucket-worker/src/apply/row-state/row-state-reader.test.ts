import { createMemoryBucketStore, type FrameCommit } from '@sluice/bucket-store';
import { barrierAt, type Epoch, type LeaseToken, type Lsn, type Position, type ProjectId } from '@sluice/domain';
import { bindRow } from '@sluice/sync-rules';
import { manualClock } from '@sluice/testkit';
import { beforeEach, expect, test } from 'vitest';
import { itemColumns, itemsPlan } from '../../wal.fixture.ts';
import { StreamState } from '../stream-state.ts';
import { type HeldState, type StateChanges, stateWrites } from './frame-states.ts';
import type { RowLookups } from './row-lookups.ts';
import { RowStateReader } from './row-state-reader.ts';
import { TrackedTable } from './tracked-table.ts';

const project = 1 as ProjectId;
const START = barrierAt(100n as Lsn);

let store: ReturnType<typeof createMemoryBucketStore>;
let token: LeaseToken;
let epoch: Epoch;
let table: TrackedTable;
let applied: Position;

beforeEach(async () => {
  store = createMemoryBucketStore(manualClock());
  token = (await store.acquireLease(project, 'test', 1_000_000)) as LeaseToken;
  const identity = { slot: 's', publication: 'p', systemId: '1', timeline: 1, databaseOid: 1 };
  epoch = await store.openEpoch(project, token, identity, START, 1);
  applied = START;
  const plans = [{ name: 'items', contentHash: 'h', plan: itemsPlan }];
  const [record] = await store.addStreams(project, token, epoch, plans, START.lsn);
  const bound = bindRow(itemsPlan, { columns: itemColumns });
  if (!record || bound.kind !== 'bound') throw new Error('the plan fits its table');
  table = new TrackedTable(new StreamState(record), undefined, bound, { columns: itemColumns });
});

const reader = () => new RowStateReader({ store, project, shard: 0 });
const lookups = (...keys: readonly string[]): RowLookups => ({
  kind: 'stream',
  lookups: keys.map((key) => ({ table, key, before: barrierAt(101n as Lsn) })),
});
const changes = (key: string, text: string): StateChanges => {
  const image = new TextEncoder().encode(text);
  const state: HeldState = { kind: 'row', lsn: 110n as Lsn, seq: 1, since: 110n as Lsn, origin: undefined, image };
  return new Map([
    [table.id, { stream: table.state.stream, set: undefined, isTruncated: false, changed: new Map([[key, state]]) }],
  ]);
};
const read = async (from: RowStateReader, keys: readonly string[], pending?: StateChanges, at = [applied]) => {
  const known = await from.read(lookups(...keys), { epoch, pending, appliedAt: at });
  return known && keys.map((key) => new TextDecoder().decode(known.byTable.get(table.id)?.get(key)?.image));
};
/** Commits a frame that ends at `lsn`, as whoever holds the shard. */
async function commit(lsn: bigint, changed: StateChanges): Promise<void> {
  const { revision } = await store.readRowStates(project, {
    epoch,
    shard: 0,
    refs: [],
    withOrigins: false,
    bytesMax: 1,
  });
  const end = barrierAt(lsn as Lsn);
  const frame: Omit<FrameCommit, 'shardLeaseToken'> = {
    ...{ project, epoch, shard: 0, mapVersion: 1, leaseToken: token, prev: applied, end, endLsn: lsn as Lsn },
    ...{ committedAtMs: 0, appliedBefore: applied, streams: [table.state.stream], chunks: [], memberships: [] },
    ...{ truncates: [], issues: [], rowStates: { revision, writes: stateWrites(changed) } },
  };
  const shardLeaseToken = 0n as FrameCommit['shardLeaseToken'];
  expect((await store.applyFrame({ ...frame, shardLeaseToken })).kind).toBe('applied');
  applied = end;
}

test('L3: what another worker wrote is noticed, and nothing remembered outlives it', async () => {
  const [mine, other] = [reader(), reader()];
  expect(await read(mine, ['a'])).toEqual(['']);
  const first = changes('a', 'first');
  await commit(110n, first);
  mine.committed('stream', first);
  expect(await read(mine, ['a'])).toEqual(['first']);
  const mineAt = applied;
  await commit(120n, changes('a', 'second'));
  expect(await read(other, ['a'])).toEqual(['second']);
  // Another key has to be asked for, and the answer is of another position.
  expect(await read(mine, ['a', 'b'], undefined, [mineAt])).toBeUndefined();
  expect(mine.revision).toBeUndefined();
  expect(await read(mine, ['a', 'b'])).toEqual(['second', '']);
});

test('L3: a part of a copy or a new point moves the revision, so that what was remembered is read again', async () => {
  const mine = reader();
  await commit(110n, changes('a', 'first'));
  expect(await read(mine, ['a'])).toEqual(['first']);
  await store.setBackfillPoint(project, token, [table.state.stream], 105n as Lsn);
  expect(await read(mine, ['a'])).toBeUndefined();
  expect(await read(mine, ['a'])).toEqual(['first']);
});

test('a frame is evaluated with what the frame before it will have written', async () => {
  const mine = reader();
  const after = barrierAt(120n as Lsn);
  await commit(110n, changes('b', 'stored'));
  const at = [applied, after];
  expect(await read(mine, ['a', 'b'], changes('a', 'pending'), at)).toEqual(['pending', 'stored']);
  const truncated: StateChanges = new Map([
    [table.id, { stream: table.state.stream, set: undefined, isTruncated: true, changed: new Map() }],
  ]);
  expect(await read(mine, ['a', 'b'], truncated, at)).toEqual(['', '']);
});
