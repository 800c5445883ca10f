import { type Epoch, type LeaseToken, type Lsn, parseProjectId } from '@sluice/domain';
import { createMemoryOpQueue, createRedisOpQueue, type OpQueue, type StreamFrame } from '@sluice/op-queue';
import { systemClock } from '@sluice/telemetry';
import { freshRedis } from '@sluice/testkit';
import { calibrate } from '../measure/calibration.ts';
import { formatResult } from '../measure/result.ts';
import { median, quantile } from '../measure/statistics.ts';

/**
 * The op queue alone: one producer and one consumer in one process, ops of 200 bytes in frames of 1 to 1,000, over Redis
 * and within the process (the baseline). Processor time is that of this process and of Redis together.
 *
 * SLUICE_BENCH_SCALE shrinks the loads and SLUICE_BENCH_ROUNDS the rounds for a try; figures are only comparable without.
 */
const SCALE = Number(process.env.SLUICE_BENCH_SCALE ?? 1);
const ROUNDS = Number(process.env.SLUICE_BENCH_ROUNDS ?? 5);
const OP_BYTES = 200;
const FRAMES_BY_OPS = { 1: 30_000, 10: 30_000, 100: 8_000, 1000: 1_500 } as const;
const LATENCY_FRAMES = 2_000;
const QUEUE_BYTES_MAX = 64 << 20;

type Figures = Record<string, number>;
const never = new AbortController().signal;
const project = parseProjectId(1);

function frame(n: number, changes: Uint8Array): StreamFrame {
  return {
    kind: 'stream',
    project,
    epoch: 1 as Epoch,
    shard: 0,
    mapVersion: 1,
    leaseToken: 1n as LeaseToken,
    prev: { lsn: BigInt(n) as Lsn, seq: 0 },
    end: { lsn: BigInt(n + 1) as Lsn, seq: 0 },
    endLsn: 0n as Lsn,
    committedAtMs: 0,
    changes,
  };
}

/** Takes `count` frames, finishing each at once; `onTaken` is told the number of each. */
async function consume(queue: OpQueue, count: number, onTaken: (n: number) => void = () => {}): Promise<void> {
  let left = count;
  for await (const taken of queue.take(project, 0, never)) {
    if (taken.frame.kind === 'stream') onTaken(Number(taken.frame.prev.lsn));
    taken.done();
    if (--left === 0) return;
  }
}

async function throughput(
  queue: OpQueue,
  opsPerFrame: number,
  count: number,
  serverCpuMs: () => Promise<number>,
): Promise<{ opsPerS: number; microsPerOp: number }> {
  const changes = new Uint8Array(opsPerFrame * OP_BYTES).fill(7);
  const ops = count * opsPerFrame;
  const serverBeforeMs = await serverCpuMs();
  const cpuBefore = process.cpuUsage();
  const startMs = performance.now();
  const consumed = consume(queue, count);
  for (let n = 0; n < count; n++) await queue.publish(frame(n, changes), never);
  await consumed;
  const durationMs = performance.now() - startMs;
  const cpu = process.cpuUsage(cpuBefore);
  const cpuMicros = cpu.user + cpu.system + ((await serverCpuMs()) - serverBeforeMs) * 1000;
  return { opsPerS: (ops * 1000) / durationMs, microsPerOp: cpuMicros / ops };
}

/** From `publish` to the consumer, one frame of one op at a time. Milliseconds. */
async function latencies(queue: OpQueue, count: number): Promise<number[]> {
  const changes = new Uint8Array(OP_BYTES);
  const times: number[] = [];
  let arrived = (): void => {};
  const consumed = consume(queue, count, () => arrived());
  for (let n = 0; n < count; n++) {
    const startMs = performance.now();
    const arrival = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    await queue.publish(frame(n, changes), never);
    await arrival;
    times.push(performance.now() - startMs);
  }
  await consumed;
  return times;
}

async function measure(queue: OpQueue, serverCpuMs: () => Promise<number>): Promise<Figures> {
  const figures: Figures = {};
  for (const [ops, frames] of Object.entries(FRAMES_BY_OPS)) {
    const { opsPerS, microsPerOp } = await throughput(queue, Number(ops), Math.ceil(frames * SCALE), serverCpuMs);
    figures[`opsPerS${ops}`] = opsPerS;
    figures[`microsPerOp${ops}`] = microsPerOp;
  }
  const times = await latencies(queue, Math.ceil(LATENCY_FRAMES * SCALE));
  figures.latencyP50Ms = median(times);
  figures.latencyP99Ms = quantile(times, 0.99);
  return figures;
}

function medians(rounds: readonly Figures[]): Figures {
  const names = Object.keys(rounds[0] ?? {});
  return Object.fromEntries(names.map((name) => [name, median(rounds.map((round) => round[name] ?? Number.NaN))]));
}

await using redis = await freshRedis();
const calibration = calibrate();
const rounds = { redis: [] as Figures[], memory: [] as Figures[] };
for (let round = 0; round < ROUNDS; round++) {
  const queue = await createRedisOpQueue({
    url: redis.url,
    bytesMaxPerShard: QUEUE_BYTES_MAX,
    clock: systemClock,
    onTrouble: (error) => console.error(error.message),
  });
  rounds.redis.push(await measure(queue, () => redis.cpuMs()));
  await queue.close();
  rounds.memory.push(await measure(createMemoryOpQueue({ bytesMaxPerShard: QUEUE_BYTES_MAX }), async () => 0));
  console.error(`round ${round + 1} of ${ROUNDS}`);
}
const [figures, baseline] = [medians(rounds.redis), medians(rounds.memory)];
const ratio = Object.fromEntries(
  Object.keys(FRAMES_BY_OPS).map((ops) => {
    const name = `opsPerS${ops}`;
    return [`${name}ToMemory`, (figures[name] ?? 0) / (baseline[name] ?? 1)];
  }),
);
console.log(formatResult({ bench: 'queue', figures, baseline, ratio }, calibration));
