import type { BucketId, Lsn } from '@sluice/domain';
import { randomFrom, seededRandom, waitFor } from '@sluice/testkit';
import { describe, expect, it } from 'vitest';
import { DirectClient, doc, member, noMember, POLL_MS, stack } from './testing/direct-client.ts';
import { bucketsOfUser } from './testing/docs-rules.ts';
import { randomHistory } from './testing/random-history.ts';

const HISTORIES = 25;

describe('one session', () => {
  it('L12: a first checkpoint holds what the claims give, and only that', async () => {
    const s = await stack();
    await s.source.commit([
      member(1, 'ann', 'red'),
      doc(1, 'ann', 'blue'),
      doc(2, 'bob', 'red'),
      doc(3, 'bob', 'blue'),
    ]);
    const client = new DirectClient(s, 'ann');
    await client.step();
    expect(client.replica.rows()).toHaveLength(2);
    expect(client.replica.lastCheckpoint?.reset).toBe(false);
  });

  it('a user without any row still gets a checkpoint, so that the client knows that it is complete', async () => {
    const s = await stack();
    const client = new DirectClient(s, 'nobody');
    await client.step();
    expect(client.replica.applied).toHaveLength(1);
  });

  it('L13: only sessions whose buckets or memberships changed wake', async () => {
    const s = await stack();
    const ann = new DirectClient(s, 'ann');
    const bob = new DirectClient(s, 'bob');
    await ann.step();
    await bob.step();
    await s.source.commit([doc(1, 'ann', 'red')]);
    await s.clock.advance(0);
    expect([ann.isDirty, bob.isDirty]).toEqual([true, false]);
    await ann.step();
    await s.source.commit([member(1, 'bob', 'red')]);
    await s.clock.advance(0);
    expect([ann.isDirty, bob.isDirty]).toEqual([false, true]);
    await bob.step();
    expect(bob.replica.rows()).toHaveLength(1);
  });

  it('a change in a held bucket comes as an extension, forwarded as stored', async () => {
    const s = await stack();
    await s.source.commit([doc(1, 'ann', 'red')]);
    const ann = new DirectClient(s, 'ann');
    await ann.step();
    await s.source.commit([doc(1, 'ann', 'red', 'changed')]);
    await s.clock.advance(0);
    await ann.step();
    expect(ann.replica.lastCheckpoint?.extend).toHaveLength(1);
    expect(ann.replica.lastCheckpoint?.replace).toHaveLength(0);
    expect(ann.replica.lastCheckpoint?.totalOps).toBe(1);
  });

  it('L13: a grant broken and regained in one step brings the bucket as it stands, without what came in between', async () => {
    const s = await stack();
    await s.source.commit([member(1, 'ann', 'red'), doc(1, 'bob', 'red', 'before')]);
    const ann = new DirectClient(s, 'ann');
    await ann.step();
    await s.source.commit([noMember(1)]);
    await s.source.commit([doc(1, 'bob', 'red', 'secret')]);
    await s.source.commit([member(1, 'ann', 'red'), doc(1, 'bob', 'red', 'after')]);
    await s.clock.advance(0);
    await ann.step();
    expect(ann.replica.lastCheckpoint?.replace).toHaveLength(1);
    expect(ann.replica.lastPuts.some((put) => Buffer.from(put.row, 'hex').includes('secret'))).toBe(false);
  });

  it('L13: a revoked bucket is dropped at the checkpoint that revokes', async () => {
    const s = await stack();
    await s.source.commit([member(1, 'ann', 'red'), doc(1, 'bob', 'red')]);
    const ann = new DirectClient(s, 'ann');
    await ann.step();
    await s.source.commit([noMember(1), doc(1, 'bob', 'red', 'secret')]);
    await s.clock.advance(0);
    await ann.step();
    expect(ann.replica.lastCheckpoint?.drop).toHaveLength(1);
    expect(ann.replica.lastPuts).toEqual([]);
    expect(ann.replica.rows()).toEqual([]);
  });

  it('a truncated membership table takes the buckets away although it names no lookup', async () => {
    const s = await stack();
    await s.source.commit([member(1, 'ann', 'red'), doc(1, 'bob', 'red')]);
    const ann = new DirectClient(s, 'ann');
    await ann.step();
    await s.source.commit([{ kind: 'truncate-members' }]);
    await s.clock.advance(0);
    await ann.step();
    expect(ann.replica.rows()).toEqual([]);
  });

  it('a wake-up that was lost is noticed at the next one, and everybody looks at everything', async () => {
    const s = await stack();
    const ann = new DirectClient(s, 'ann');
    const bob = new DirectClient(s, 'bob');
    await ann.step();
    await bob.step();
    await s.source.commit([doc(1, 'ann', 'red')], { publish: false });
    await s.source.commit([doc(2, 'bob', 'red')]);
    await s.clock.advance(0);
    expect([ann.isDirty, bob.isDirty]).toEqual([true, true]);
    await ann.step();
    expect(ann.replica.rows()).toHaveLength(1);
  });

  it('L11: a lost wake-up about the streams is made up for by the next checkpoint that is announced, before it is served', async () => {
    let isLossy = false;
    const s = await stack({ loses: (wakeUp) => isLossy && wakeUp.kind === 'streams' });
    const ann = new DirectClient(s, 'ann');
    await s.source.commit([doc(1, 'ann', 'red')]);
    await ann.step();
    const before = s.rooms.watch.served?.streams[0]?.stream;
    isLossy = true;
    await s.source.redeploy();
    await s.source.commit([doc(2, 'ann', 'red')]);
    expect(s.source.stream).not.toBe(before);
    await waitFor(() => s.rooms.watch.served?.streams[0]?.stream === s.source.stream, { what: 'the new streams' });
    await ann.step();
    expect(ann.replica.rows()).toHaveLength(2);
  });

  it('a wake-up that was lost for good is found by the poll', async () => {
    const s = await stack();
    const ann = new DirectClient(s, 'ann');
    await ann.step();
    await s.source.commit([doc(1, 'ann', 'red')], { publish: false });
    await s.clock.advance(POLL_MS + 1000);
    expect(ann.isDirty).toBe(true);
    await ann.step();
    expect(ann.replica.rows()).toHaveLength(1);
  });

  it('an idle session can be told the newest checkpoint alone', async () => {
    const s = await stack();
    const ann = new DirectClient(s, 'ann');
    await ann.step();
    const lsn = await s.source.commit([doc(2, 'bob', 'red')]);
    await s.clock.advance(0);
    await ann.step(true);
    expect(ann.replica.lsn).toBe(lsn);
    expect(ann.replica.lastChunks).toBe(0);
  });

  it('L11: a new generation replaces the old one in one checkpoint, after its schema', async () => {
    const s = await stack();
    await s.source.commit([doc(1, 'ann', 'red'), doc(2, 'ann', 'red')]);
    const ann = new DirectClient(s, 'ann');
    await ann.step();
    await s.source.redeploy();
    // The gateway hears of the switch before the checkpoint from which it counts.
    await s.clock.advance(0);
    await ann.step();
    expect(ann.replica.schemas).toBe(1);
    await s.source.commit([doc(3, 'ann', 'red')]);
    await s.clock.advance(0);
    expect(ann.isDirty).toBe(true);
    await ann.step();
    expect(ann.replica.schemas).toBe(2);
    expect(ann.replica.lastCheckpoint?.drop).toHaveLength(1);
    expect(ann.replica.lastCheckpoint?.replace).toHaveLength(1);
    expect(ann.replica.rows()).toHaveLength(3);
  });

  it('a new epoch resets the client', async () => {
    const s = await stack();
    await s.source.commit([doc(1, 'ann', 'red')]);
    const ann = new DirectClient(s, 'ann');
    await ann.step();
    await s.source.begin();
    await s.clock.advance(0);
    await ann.step();
    expect(ann.replica.lastCheckpoint?.reset).toBe(true);
    expect(ann.replica.rows()).toHaveLength(1);
  });
});

describe('resume', () => {
  it('at the newest checkpoint: nothing is sent again, and every held bucket is summed', async () => {
    const s = await stack();
    await s.source.commit([doc(1, 'ann', 'red'), doc(2, 'ann', 'blue')]);
    const ann = new DirectClient(s, 'ann');
    await ann.step();
    ann.reconnect();
    await ann.step();
    expect(ann.replica.lastChunks).toBe(0);
    expect(ann.replica.lastCheckpoint?.extend).toHaveLength(1);
  });

  it('behind: only what changed comes', async () => {
    const s = await stack();
    await s.source.commit([doc(1, 'ann', 'red'), doc(2, 'ann', 'blue')]);
    const ann = new DirectClient(s, 'ann');
    await ann.step();
    ann.close();
    await s.source.commit([doc(2, 'ann', 'blue', 'changed')]);
    await s.source.commit([doc(3, 'ann', 'blue')]);
    await s.clock.advance(0);
    ann.reconnect();
    await ann.step();
    expect(ann.replica.lastPuts).toHaveLength(2);
  });

  it('L13: behind, with a grant that was broken meanwhile: the bucket comes as it stands', async () => {
    const s = await stack();
    await s.source.commit([member(1, 'ann', 'red'), doc(1, 'bob', 'red')]);
    const ann = new DirectClient(s, 'ann');
    await ann.step();
    ann.close();
    await s.source.commit([noMember(1)]);
    await s.source.commit([doc(1, 'bob', 'red', 'secret')]);
    await s.source.commit([member(2, 'ann', 'red')]);
    await s.source.commit([doc(1, 'bob', 'red', 'after')]);
    await s.clock.advance(0);
    ann.reconnect();
    await ann.step();
    expect(ann.replica.lastCheckpoint?.replace).toHaveLength(1);
  });

  it('L13: a lie about held buckets gains nothing', async () => {
    const s = await stack();
    await s.source.commit([doc(1, 'bob', 'red')]);
    const bob = new DirectClient(s, 'bob');
    await bob.step();
    const ann = new DirectClient(s, 'ann');
    await ann.step();
    for (const [bucket, held] of bob.replica.buckets) ann.replica.buckets.set(bucket, held);
    ann.replica.buckets.set('f'.repeat(32) as BucketId, { table: 'docs', rows: new Map() });
    await s.source.commit([doc(1, 'bob', 'red', 'secret')]);
    await s.clock.advance(0);
    ann.reconnect();
    await ann.step();
    expect(ann.replica.lastPuts).toEqual([]);
    expect(ann.replica.lastCheckpoint?.drop).toHaveLength(2);
  });

  it('L13: a bucket of a generation that was not visible then was not held, whatever the client says', async () => {
    const s = await stack();
    await s.source.commit([doc(1, 'ann', 'red')]);
    const ann = new DirectClient(s, 'ann');
    await ann.step();
    await s.source.redeploy();
    const lsn = await s.source.commit([doc(1, 'ann', 'red', 'newer')]);
    await s.clock.advance(0);
    const [bucket] = bucketsOfUser(s.source.streamAt(lsn), s.source.at(lsn), 'ann');
    if (bucket) ann.replica.buckets.set(bucket, { table: 'docs', rows: new Map() });
    ann.reconnect();
    await ann.step();
    expect(ann.replica.lastCheckpoint?.replace.map((replaced) => replaced.bucket)).toEqual([bucket]);
  });

  it('L17: ahead of the store is an error that names itself', async () => {
    const s = await stack();
    const ann = new DirectClient(s, 'ann');
    await ann.step();
    ann.replica.lsn = ((ann.replica.lsn ?? 0n) + 1n) as Lsn;
    ann.reconnect();
    await expect(ann.step()).rejects.toMatchObject({ code: 'CLIENT_AHEAD' });
  });

  it('from an earlier epoch: reset', async () => {
    const s = await stack();
    await s.source.commit([doc(1, 'ann', 'red')]);
    const ann = new DirectClient(s, 'ann');
    await ann.step();
    ann.close();
    await s.source.begin();
    await s.clock.advance(0);
    ann.reconnect();
    await ann.step();
    expect(ann.replica.lastCheckpoint?.reset).toBe(true);
  });

  it('from before a truncate: the bucket comes as it stands', async () => {
    const s = await stack();
    await s.source.commit([doc(1, 'ann', 'red'), doc(2, 'ann', 'red')]);
    const ann = new DirectClient(s, 'ann');
    await ann.step();
    ann.close();
    await s.source.commit([{ kind: 'truncate-docs' }, doc(3, 'ann', 'red')]);
    await s.clock.advance(0);
    ann.reconnect();
    await ann.step();
    expect(ann.replica.lastCheckpoint?.replace).toHaveLength(1);
    expect(ann.replica.rows()).toHaveLength(1);
  });
});

describe('random histories', () => {
  it('L9, L12, L13: every client equals the tables at every checkpoint, and never got a row version outside its grant', async () => {
    const random = seededRandom();
    for (let i = 0; i < HISTORIES; i++) {
      const seed = random.int(0, 2 ** 31);
      await randomHistory(randomFrom(seed)).catch((error: unknown) => {
        throw new Error(`history ${i}, seed ${seed}: ${error instanceof Error ? error.message : 'thrown'}`, {
          cause: error,
        });
      });
    }
  }, 60_000);
});
