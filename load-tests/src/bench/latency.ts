import { startLatencyChild } from '../latency/latency-child.ts';
import { LatencyBench, type LatencyFigures, medians } from '../latency/measure.ts';
import { calibrate } from '../measure/calibration.ts';
import { formatResult } from '../measure/result.ts';

/**
 * Latency from COMMIT to the client's live query. The data plane runs in a process of its own.
 *
 * SLUICE_BENCH_CHANGES and SLUICE_BENCH_ROUNDS shrink it for a try.
 */
const CHANGES = Number(process.env.SLUICE_BENCH_CHANGES ?? 1000);
const ROUNDS = Number(process.env.SLUICE_BENCH_ROUNDS ?? 5);
await using child = await startLatencyChild();
const bench = await new LatencyBench(child, CHANGES).connect();
const calibration = calibrate();
const rounds: LatencyFigures[] = [];
for (let round = 0; round < ROUNDS; round++) {
  const figures = await bench.round();
  rounds.push(figures);
  console.error(`round ${round + 1} of ${ROUNDS}: ${JSON.stringify(figures)}`);
}
const commitP50Ms = await bench.commitP50Ms();
await bench.close();

const figures = medians(rounds);
const ratioOf = (name: string, to: number | undefined): number => (figures[name] ?? Number.NaN) / (to ?? Number.NaN);
console.log(
  formatResult(
    {
      bench: 'latency',
      figures,
      baseline: { commitP50Ms },
      ratio: {
        p50At200To1: ratioOf('p50Ms200', figures.p50Ms1),
        sharedToDistinctAt200: ratioOf('sharedP50Ms200', figures.p50Ms200),
        p50At1ToCommit: ratioOf('p50Ms1', commitP50Ms),
      },
    },
    calibration,
  ),
);
