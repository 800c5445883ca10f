import { freshRedis, type SeededRandom, seededRandom, tcpProxy, testConfig, waitFor } from '@sluice/testkit';
import { expect, it } from 'vitest';
import type { OpQueue } from '../port.ts';
import { frame, isEmpty, numberOf, openQueue, project, withClient } from './queue.fixture.ts';

const FRAMES = 400;
const HISTORIES = testConfig().lane === 'long' ? 40 : 2;

/** The rest of the pipeline in small: a store that takes each frame once and in order, and a source that can go back. */
class Pipeline {
  applied = 0;
  repeated = 0;
  gaps = 0;
  /** Times that the producer lost its link and noticed. */
  cuts = 0;
  private restarts = new AbortController();

  /** Publishes from what is applied; begins again there whenever the store finds a gap. */
  async produce(queue: OpQueue, random: SeededRandom): Promise<void> {
    while (this.applied < FRAMES) {
      await queue.clear(project);
      this.restarts = new AbortController();
      // It goes on beyond the last frame, as a heartbeat would: a gap at the end shows by what comes after it.
      for (let n = this.applied; this.applied < FRAMES; n++) {
        const published = queue.publish(frame(n, random.int(0, 300)), this.restarts.signal);
        await published.catch(() => {});
        if (this.restarts.signal.aborted) break;
      }
    }
  }

  async consume(queue: OpQueue, signal: AbortSignal): Promise<void> {
    for await (const taken of queue.take(project, 0, signal)) {
      const n = numberOf(taken);
      if (n === this.applied) this.applied++;
      else if (n < this.applied) this.repeated++;
      else this.reportGap();
      taken.done();
    }
  }

  private reportGap(): void {
    this.gaps++;
    this.restarts.abort(new Error('gap'));
  }
}

async function history(random: SeededRandom): Promise<Pipeline> {
  await using redis = await freshRedis();
  await using proxy = await tcpProxy({ port: redis.port });
  const url = `redis://127.0.0.1:${proxy.port}`;
  const pipeline = new Pipeline();
  const producer = await openQueue(url, 2_000, () => pipeline.cuts++);
  let consumer = await openQueue(url, 2_000);
  let stopping = new AbortController();
  let consuming = pipeline.consume(consumer, stopping.signal);
  const faults: readonly (() => Promise<void>)[] = [
    async () => proxy.cut(),
    async () => void (await withClient(redis.url, (client) => client.flushall())),
    async () => void (await withClient(redis.url, (client) => client.del('sluice:{7:0}:frames'))),
    async () => void (await withClient(redis.url, (client) => client.del('sluice:{7:0}:bytes'))),
    async () => void (await withClient(redis.url, (client) => client.script('FLUSH'))),
    async () => {
      await redis.kill();
      await redis.restart();
    },
    async () => {
      proxy.swallow(random.pick(['toTarget', 'toClient']));
      const before = proxy.connections;
      await waitFor(() => proxy.connections > before, { what: 'a dead link to be replaced' });
      proxy.heal();
      proxy.cut();
    },
    async () => {
      stopping.abort();
      await consuming;
      if (random.chance(0.5)) {
        await consumer.close();
        consumer = await openQueue(url, 2_000);
      }
      stopping = new AbortController();
      consuming = pipeline.consume(consumer, stopping.signal);
    },
  ];
  const producing = pipeline.produce(producer, random);
  await faults[0]?.();
  let at = 0;
  while (at < FRAMES) {
    at += random.int(1, 80);
    await waitFor(() => pipeline.applied >= Math.min(at, FRAMES), { what: `frame ${at} to be applied` });
    if (at < FRAMES) await random.pick(faults)();
  }
  await producing;
  await producer.clear(project);
  await waitFor(() => isEmpty(redis.url), { what: 'the room to be free' });
  stopping.abort();
  await consuming;
  await Promise.all([producer.close(), consumer.close()]);
  return pipeline;
}

it(
  'L3: cut, flushed, killed, half-open or taken over at random: every frame is applied in its turn within 10 s of each fault',
  async () => {
    const random = seededRandom();
    for (let run = 0; run < HISTORIES; run++) {
      const pipeline = await history(random);
      expect(pipeline.applied).toBeGreaterThanOrEqual(FRAMES);
      // Otherwise the faults hit nothing.
      expect(pipeline.cuts + pipeline.gaps + pipeline.repeated).toBeGreaterThan(0);
    }
  },
  HISTORIES * 60_000,
);
