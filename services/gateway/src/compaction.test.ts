import { type Lsn, lsnFromBigint } from '@sluice/domain';
import { seededRandom } from '@sluice/testkit';
import { describe, expect, it } from 'vitest';
import { DirectClient, doc, member, noMember, type Stack, stack } from './testing/direct-client.ts';
import { foldEverything } from './testing/naive-fold.ts';

const noDoc = (id: number) => ({ kind: 'doc', id, doc: undefined }) as const;
const KEEP_ALL = { readableMs: 0, retentionMs: Number.MAX_SAFE_INTEGER };
const fold = (s: Stack, ages = KEEP_ALL) => foldEverything(s.store, s.source.project, ages);

describe('sessions of a project that is compacted', () => {
  it('L13: a client that was away is sent the changes since, and no key of a row that was removed before its grant', async () => {
    const s = await stack();
    await s.source.commit([doc(1, 'bob', 'red', 'first'), doc(777, 'bob', 'red', 'secret'), doc(3, 'bob', 'red')]);
    await s.source.commit([noDoc(777)]);
    await s.source.commit([member(1, 'ann', 'red')]);
    const ann = new DirectClient(s, 'ann');
    await ann.step();
    await s.source.commit([doc(1, 'bob', 'red', 'second'), noDoc(3)]);
    await s.source.commit([doc(1, 'bob', 'red', 'third')]);
    expect(await fold(s)).toBeGreaterThan(0);
    await s.clock.advance(0);
    ann.reconnect();
    await ann.step();
    expect(ann.replica.lastCheckpoint?.extend).toHaveLength(2);
    expect(ann.replica.lastCheckpoint?.replace).toHaveLength(0);
    // The newest version of 1, and that 3 is gone: nothing of 777.
    expect(ann.replica.lastCheckpoint?.totalOps).toBe(2);
  });

  it('L12: a client below the retention floor loads everything anew, in one checkpoint', async () => {
    const s = await stack();
    await s.source.commit([member(1, 'ann', 'red'), doc(1, 'bob', 'red'), doc(2, 'ann', 'blue')]);
    const ann = new DirectClient(s, 'ann');
    await ann.step();
    ann.close();
    await s.source.commit([noDoc(1), doc(3, 'bob', 'red'), noMember(1)]);
    await s.source.commit([member(2, 'ann', 'green'), doc(4, 'bob', 'green')]);
    await fold(s, { readableMs: 0, retentionMs: 0 });
    await s.clock.advance(0);
    ann.reconnect();
    await ann.step();
    expect(ann.replica.lastCheckpoint?.reset).toBe(true);
    expect(ann.replica.lastCheckpoint?.extend).toHaveLength(0);
    await s.source.commit([doc(5, 'ann', 'blue')]);
    await s.clock.advance(0);
    await ann.step();
    expect(ann.replica.lastCheckpoint?.reset).toBe(false);
    expect(ann.replica.lastCheckpoint?.extend).toHaveLength(1);
  });

  it('a client without memberships that is below the floor loads anew as well', async () => {
    const s = await stack();
    await s.source.commit([doc(1, 'ann', 'red')]);
    const ann = new DirectClient(s, 'ann');
    await ann.step();
    await s.source.commit([doc(1, 'ann', 'red', 'newer')]);
    await s.source.commit([doc(2, 'ann', 'red')]);
    await fold(s, { readableMs: 0, retentionMs: 0 });
    ann.reconnect();
    await s.clock.advance(0);
    await ann.step();
    expect(ann.replica.lastCheckpoint?.reset).toBe(true);
  });

  it('L5: a step that takes long pins its checkpoint until it ends', async () => {
    const s = await stack();
    await s.source.commit([doc(1, 'ann', 'red')]);
    const served = s.rooms.watch.served;
    if (!served) throw new Error('the project is served');
    const readFrom = async (): Promise<Lsn> => {
      const token = await s.store.acquireCompaction(s.source.project, 'test', 60_000);
      if (token === undefined) throw new Error('nobody else compacts');
      const floors = await s.store.raiseFloors(s.source.project, token, { readableMs: 0, retentionMs: 0 });
      return floors?.readFrom ?? lsnFromBigint(0n);
    };
    let end = (): void => {};
    const reading = s.rooms.pins.during(served.checkpoint, () => new Promise<void>((resolve) => (end = resolve)));
    for (let i = 0; i < 3; i++) {
      await s.clock.advance(60_000);
      await s.source.commit([doc(1, 'ann', 'red', `version ${i}`)]);
      expect(await readFrom()).toBe(served.checkpoint.lsn);
    }
    end();
    await reading;
    await s.clock.advance(60_000);
    expect(await readFrom()).toBe(s.source.lsn);
  });

  it('random histories: whoever resumes from anywhere, while all is folded again and again, shows its claims', async () => {
    const random = seededRandom();
    for (let history = 0; history < 15; history++) {
      const s = await stack({ cacheBytes: random.pick([0, 1 << 20]) });
      const clients = ['ann', 'bob', 'cem', 'dia'].map((user) => new DirectClient(s, user));
      let folded = 0;
      for (let round = 0; round < 30; round++) {
        await s.source.commit(
          Array.from({ length: random.int(1, 4) }, () => {
            const id = random.int(1, 8);
            if (random.chance(0.3))
              return random.chance(0.5)
                ? noMember(id)
                : member(id, random.pick(['ann', 'bob']), random.pick(['red', 'blue']));
            return random.chance(0.3)
              ? noDoc(id)
              : doc(id, random.pick(['ann', 'bob', 'cem']), random.pick(['red', 'blue']), `v${round}`);
          }),
        );
        await s.clock.advance(random.int(0, 5));
        if (random.chance(0.4)) folded += await fold(s, { readableMs: 0, retentionMs: random.pick([0, 20, 1e9]) });
        for (const client of clients) {
          if (random.chance(0.7)) continue;
          if (random.chance(0.5)) client.reconnect();
          await client.step();
        }
      }
      expect(folded).toBeGreaterThan(0);
    }
  });
});
