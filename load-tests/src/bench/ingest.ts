import { bringSlotsUpToDate, checkRowCount, createBareSlot, drainBare, dropBareSlot } from '../ingest/backlog.ts';
import { DEFAULT_IDENTITY_SQL, type LoadName, loadsAt } from '../ingest/loads.ts';
import { calibrate } from '../measure/calibration.ts';
import { formatResult } from '../measure/result.ts';
import { median } from '../measure/statistics.ts';
import { BENCH_RULES_YAML, BENCH_TABLES_SQL } from '../source/bench-tables.ts';
import { type BenchStack, endOfLoad, startBenchStack, untilCheckpoint } from '../stack.ts';

/**
 * Ingest: from a backlog of commits to durable and checkpointed, against a reader of the same WAL that only counts bytes.
 * Both drain the same backlog, one after the other, taking turns at going first.
 *
 * The same loads run on tables with REPLICA IDENTITY FULL and, beside them, with DEFAULT.
 *
 * SLUICE_BENCH_SCALE shrinks the loads and SLUICE_BENCH_ROUNDS the rounds for a try; figures are only comparable without.
 */
const ROUNDS = Number(process.env.SLUICE_BENCH_ROUNDS ?? 5);
const LOADS = loadsAt(Number(process.env.SLUICE_BENCH_SCALE ?? 1));

interface Drain {
  readonly sluiceMs: number;
  readonly bareMs: number;
}

async function drainBacklog(stack: BenchStack, round: number, load: () => Promise<void>): Promise<Drain> {
  await bringSlotsUpToDate(stack.source, [stack]);
  await stack.dataPlane.stopProject(stack.project);
  await createBareSlot(stack.source);
  await load();
  const end = await endOfLoad(stack.source);
  await stack.source.query('checkpoint');
  const bare = (): Promise<number> => drainBare(stack.source, stack.sourceUrl, end);
  const sluice = async (): Promise<number> => {
    const startMs = performance.now();
    const reached = untilCheckpoint(stack, end);
    stack.dataPlane.startProject(stack.project);
    await reached;
    return performance.now() - startMs;
  };
  const first = round % 2 === 0 ? await sluice() : await bare();
  const second = round % 2 === 0 ? await bare() : await sluice();
  await dropBareSlot(stack.source);
  return round % 2 === 0 ? { sluiceMs: first, bareMs: second } : { sluiceMs: second, bareMs: first };
}

/** One stack and what was measured on it. */
class Side {
  readonly drains: Record<LoadName, Drain[]> = { bulk: [], mix: [], small: [] };
  private readonly stack: BenchStack;
  private rows = 0;

  constructor(stack: BenchStack) {
    this.stack = stack;
  }

  async round(round: number, loads: readonly LoadName[]): Promise<string> {
    for (const name of loads) {
      const { count, run } = LOADS[name];
      const load = () => run(this.stack.source, this.rows + 1, count);
      this.drains[name].push(await drainBacklog(this.stack, round, load));
      this.rows += count;
    }
    await checkRowCount(this.stack.storeUrl, this.rows);
    return loads.map((name) => `${name} ${formatDrain(this.drains[name].at(-1))}`).join(', ');
  }

  rate(name: LoadName, key: keyof Drain): number {
    return (LOADS[name].changes * 1000) / median(this.drains[name].map((drain) => drain[key]));
  }
  toBareReader(name: LoadName): number {
    return median(this.drains[name].map((drain) => drain.bareMs / drain.sluiceMs));
  }
}

function formatDrain(drain: Drain | undefined): string {
  return drain ? `${drain.sluiceMs.toFixed(0)} ms (bare ${drain.bareMs.toFixed(0)} ms)` : '';
}

await using fullStack = await startBenchStack(BENCH_TABLES_SQL, BENCH_RULES_YAML);
await using defaultStack = await startBenchStack(DEFAULT_IDENTITY_SQL, BENCH_RULES_YAML);
const full = new Side(fullStack);
const byKey = new Side(defaultStack);
const calibration = calibrate();
for (let round = 0; round < ROUNDS; round++) {
  // Both sides within a round, so that a slow moment of the machine meets both.
  const told = await full.round(round, ['bulk', 'mix', 'small']);
  const toldByKey = await byKey.round(round, ['bulk', 'mix']);
  console.error(`round ${round + 1} of ${ROUNDS}: ${told}; identity DEFAULT: ${toldByKey}`);
}

const toFull = (name: LoadName): number =>
  median(byKey.drains[name].map((drain, i) => (full.drains[name][i]?.sluiceMs ?? 0) / drain.sluiceMs));
console.log(
  formatResult(
    {
      bench: 'ingest',
      figures: {
        bulkRowsPerS: full.rate('bulk', 'sluiceMs'),
        mixRowsPerS: full.rate('mix', 'sluiceMs'),
        smallTxPerS: full.rate('small', 'sluiceMs'),
        bulkDefaultRowsPerS: byKey.rate('bulk', 'sluiceMs'),
        mixDefaultRowsPerS: byKey.rate('mix', 'sluiceMs'),
      },
      baseline: {
        bulkRowsPerS: full.rate('bulk', 'bareMs'),
        mixRowsPerS: full.rate('mix', 'bareMs'),
        smallTxPerS: full.rate('small', 'bareMs'),
        bulkDefaultRowsPerS: byKey.rate('bulk', 'bareMs'),
        mixDefaultRowsPerS: byKey.rate('mix', 'bareMs'),
      },
      ratio: {
        bulkToBareReader: full.toBareReader('bulk'),
        mixToBareReader: full.toBareReader('mix'),
        smallToBareReader: full.toBareReader('small'),
        bulkDefaultToBareReader: byKey.toBareReader('bulk'),
        mixDefaultToBareReader: byKey.toBareReader('mix'),
        bulkDefaultToFull: toFull('bulk'),
        mixDefaultToFull: toFull('mix'),
      },
    },
    calibration,
  ),
);
