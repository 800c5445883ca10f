import { once } from 'node:events';
import { connect } from 'node:net';
import { createRedisOpQueue } from '@sluice/op-queue';
import { systemClock } from '@sluice/telemetry';
import { freshDatabase, freshRedis } from '@sluice/testkit';
import { it } from 'vitest';
import { ALL_NOTES, deployedNotes, readButNotStored, runReplicator, runWorker } from './running-parts.ts';

async function flushAll(port: number): Promise<void> {
  const socket = connect(port, '127.0.0.1', () => socket.write('FLUSHALL\r\n'));
  await once(socket, 'data');
  socket.destroy();
}

it('L3: the last frames before the source falls silent are lost in Redis: they are streamed again with no heartbeat', async () => {
  await using database = await freshDatabase('lost_frames');
  await using redis = await freshRedis();
  await using source = await deployedNotes(database.url);
  const onTrouble = (): void => {};
  const queue = await createRedisOpQueue({ url: redis.url, bytesMaxPerShard: 1 << 20, clock: systemClock, onTrouble });
  await using _closed = { [Symbol.asyncDispose]: () => queue.close() };
  await using _replicator = runReplicator(source, { queue });
  await readButNotStored(source, queue);
  await flushAll(redis.port);
  await using _worker = runWorker(source, queue);
  await source.shows('notes', ALL_NOTES);
});
