import type { BucketStore } from '@sluice/bucket-store';
import { isAppError } from '@sluice/errors';
import { type SeededRandom, waitFor } from '@sluice/testkit';
import { expect } from 'vitest';
import { DirectClient, doc, member, noMember, POLL_MS, stack } from './direct-client.ts';
import type { Change, ModelSource } from './model-source.ts';

const users = ['ann', 'bob', 'cem', 'dia'];
const teams = ['red', 'green', 'blue', 'grey', 'ochre'];

function randomChange(random: SeededRandom, source: ModelSource): Change {
  const roll = random.next();
  const id = random.int(1, 12);
  if (roll < 0.02) return { kind: 'truncate-docs' };
  if (roll < 0.04) return { kind: 'truncate-members' };
  if (roll < 0.45) {
    const at = random.int(1, 6);
    if (source.now.members.has(at) && random.chance(0.5)) return noMember(at);
    return member(at, random.pick(users), random.pick(teams));
  }
  if (source.now.docs.has(id) && random.chance(0.3)) return { kind: 'doc', id, doc: undefined };
  const body = `v${random.int(0, 1e9)} ${'x'.repeat(random.chance(0.1) ? 400 : 5)}`;
  return doc(id, random.pick(users), random.pick(teams), body);
}

/** A client that steps while commits go on. What ends its connection is one of the errors that a client lives with. */
async function stepAsLivingClient(client: DirectClient, random: SeededRandom): Promise<void> {
  try {
    await client.step(random.chance(0.2));
  } catch (error) {
    if (!isAppError(error, 'SESSION_RESTART') && !isAppError(error, 'STORE_STREAM_GONE')) throw error;
    client.reconnect();
  }
}

export async function randomHistory(random: SeededRandom, options: { store?: BucketStore } = {}): Promise<void> {
  const s = await stack({
    cacheBytes: random.pick([0, 2000, 1024 * 1024]),
    ...(options.store ? { store: options.store } : { lateness: random }),
  });
  const clients = Array.from({ length: 5 }, () => new DirectClient(s, random.pick(users)));
  const stepping = new Map<DirectClient, Promise<void>>();
  for (let round = 0; round < 30; round++) {
    const transactions = Array.from({ length: random.pick([1, 1, 1, 3]) }, () =>
      Array.from({ length: random.int(0, 4) }, () => randomChange(random, s.source)),
    );
    await s.source.frame(transactions, { publish: random.chance(0.95) });
    if (random.chance(0.05)) await s.source.redeploy();
    if (random.chance(0.02)) await s.source.begin();
    await s.clock.advance(random.chance(0.1) ? POLL_MS * 2 : 0);
    for (const client of clients) {
      if (stepping.has(client) || !client.isDirty || random.chance(0.4)) continue;
      if (random.chance(0.1)) client.reconnect();
      stepping.set(
        client,
        stepAsLivingClient(client, random).finally(() => stepping.delete(client)),
      );
    }
    if (random.chance(0.3)) await Promise.all(stepping.values());
  }
  await Promise.all(stepping.values());
  await s.source.commit([]);
  const isServed = async (): Promise<boolean> => {
    await s.clock.advance(POLL_MS);
    return s.rooms.watch.served?.checkpoint.lsn === s.source.lsn;
  };
  await waitFor(isServed, { what: 'the newest checkpoint' });
  for (const client of clients) {
    await client.step(true);
    expect(client.replica.lsn).toBe(s.source.lsn);
    client.close();
  }
  expect(s.rooms.feed.bucketCount).toBe(0);
  s.rooms.watch.close();
}
