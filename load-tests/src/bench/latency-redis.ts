import { startLatencyChild } from '../latency/latency-child.ts';
import { startLatencyPlatform } from '../latency/latency-platform.ts';
import { LatencyBench, type LatencyFigures, medians } from '../latency/measure.ts';
import { calibrate } from '../measure/calibration.ts';
import { formatResult } from '../measure/result.ts';

/**
 * Latency as `latency`, through Redis: replicator, bucket workers and gateway as processes of their own, with one shard and
 * one worker, and with four shards and two workers. The data plane in one process, which takes its turn in every round, is
 * the baseline. Each has a source of its own; those that wait for their turn are idle.
 *
 * SLUICE_BENCH_CHANGES and SLUICE_BENCH_ROUNDS shrink it for a try.
 */
const CHANGES = Number(process.env.SLUICE_BENCH_CHANGES ?? 1000);
const ROUNDS = Number(process.env.SLUICE_BENCH_ROUNDS ?? 5);
await using inProcess = await startLatencyChild();
await using redis = await startLatencyPlatform({ shards: 1, workers: 1 });
await using redis4 = await startLatencyPlatform({ shards: 4, workers: 2 });
const benches: (readonly [name: string, bench: LatencyBench])[] = [];
for (const [name, target] of Object.entries({ inProcess, redis, redis4 }))
  benches.push([name, await new LatencyBench(target, CHANGES).connect()]);

const rounds: Record<string, LatencyFigures[]> = { inProcess: [], redis: [], redis4: [] };
const calibration = calibrate();
let commitP50Ms = Number.NaN;
for (let round = 0; round < ROUNDS; round++)
  for (const [name, bench] of benches) {
    const figures = await bench.round();
    if (name === 'redis') commitP50Ms = await bench.commitP50Ms();
    rounds[name]?.push(figures);
    console.error(`round ${round + 1} of ${ROUNDS}, ${name}: ${JSON.stringify(figures)}`);
  }
for (const [, bench] of benches) await bench.close();

const [figures, figures4, baseline] = [rounds.redis, rounds.redis4, rounds.inProcess].map((of) => medians(of ?? []));
const named = (all: LatencyFigures | undefined, rename: (name: string) => string): LatencyFigures =>
  Object.fromEntries(Object.entries(all ?? {}).map(([name, ms]) => [rename(name), ms]));
const ratios = (all: LatencyFigures | undefined, suffix: string): LatencyFigures =>
  Object.fromEntries(
    Object.entries(all ?? {}).map(([name, ms]) => [`${name}${suffix}`, ms / (baseline?.[name] ?? Number.NaN)]),
  );
console.log(
  formatResult(
    {
      bench: 'latency-redis',
      figures: { ...figures, ...named(figures4, (name) => `${name}4Shards`) },
      baseline: { ...named(baseline, (name) => `${name}InProcess`), commitP50Ms },
      ratio: { ...ratios(figures, 'ToInProcess'), ...ratios(figures4, '4ShardsToInProcess') },
    },
    calibration,
  ),
);
