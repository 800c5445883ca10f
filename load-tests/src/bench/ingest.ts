import { formatLsn } from '@sluice/domain';
import pg from 'pg';
import { calibrate } from '../measure/calibration.ts';
import { formatResult } from '../measure/result.ts';
import { median } from '../measure/statistics.ts';
import { readBare } from '../source/bare-reader.ts';
import { BENCH_RULES_YAML, BENCH_TABLES_SQL, insertBulk, runMix, runSmall } from '../source/bench-tables.ts';
import { type BenchStack, endOfLoad, startBenchStack, untilCheckpoint } from '../stack.ts';

/**
 * Ingest: from a backlog of commits to durable and checkpointed, against a reader of the same WAL that only counts bytes.
 * Both drain the same backlog, one after the other, taking turns at going first.
 *
 * The same loads run on tables with REPLICA IDENTITY FULL and, beside them, with DEFAULT.
 *
 * SLUICE_BENCH_SCALE shrinks the loads and SLUICE_BENCH_ROUNDS the rounds for a try; figures are only comparable without.
 */
const SCALE = Number(process.env.SLUICE_BENCH_SCALE ?? 1);
const ROUNDS = Number(process.env.SLUICE_BENCH_ROUNDS ?? 5);
const BULK_ROWS = Math.round(1_000_000 * SCALE);
const MIX_TRANSACTIONS = Math.round(100_000 * SCALE);
const SMALL_TRANSACTIONS = Math.round(100_000 * SCALE);
const BARE_SLOT = 'bench_bare';

interface Drain {
  readonly sluiceMs: number;
  readonly bareMs: number;
}

async function drainBacklog(
  stack: BenchStack,
  publication: string,
  round: number,
  load: () => Promise<void>,
): Promise<Drain> {
  await bringSlotUpToDate(stack);
  await stack.dataPlane.stopProject(stack.project);
  await stack.source.query(`select pg_create_logical_replication_slot('${BARE_SLOT}', 'pgoutput')`);
  await load();
  const end = await endOfLoad(stack.source);
  await stack.source.query('checkpoint');
  const bare = async (): Promise<number> => (await readBare(stack.sourceUrl, BARE_SLOT, publication, end)).durationMs;
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

/**
 * A slot that is streamed again is decoded from its restart point, which servers move every 15 seconds or so. The baseline's
 * slot is new; ours is brought up to date, so that both drain the load and nothing before it.
 */
async function bringSlotUpToDate(stack: BenchStack): Promise<void> {
  const target = await endOfLoad(stack.source);
  for (let isUpToDate = false; !isUpToDate; ) {
    await stack.source.query('select pg_log_standby_snapshot()');
    await untilCheckpoint(stack, await endOfLoad(stack.source));
    const slots = await stack.source.query(
      `select bool_and(restart_lsn >= $1) as "isUpToDate" from pg_replication_slots where slot_type = 'logical'`,
      [formatLsn(target)],
    );
    isUpToDate = slots.rows[0]?.isUpToDate === true;
  }
}

/** The walsender of a torn connection may hold the slot for a moment. */
async function dropBareSlot(source: pg.Client): Promise<void> {
  await source.query(
    `select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = '${BARE_SLOT}' and active_pid is not null`,
  );
  for (;;) {
    const dropped = await source.query(
      `select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = '${BARE_SLOT}' and active_pid is null`,
    );
    if (dropped.rowCount === 1) return;
  }
}

async function checkRowCount(stack: BenchStack, expected: number): Promise<void> {
  const store = new pg.Client({ connectionString: stack.storeUrl });
  await store.connect();
  const result = await store.query('select sum(rows_delta)::bigint as rows from sluice_store.chunk');
  await store.end();
  if (Number(result.rows[0]?.rows) !== expected)
    throw new Error(`the store holds ${String(result.rows[0]?.rows)} rows, not ${expected}`);
}

type LoadName = 'bulk' | 'mix' | 'small';
/** One stack and what was measured on it. */
class Side {
  readonly drains: Record<LoadName, Drain[]> = { bulk: [], mix: [], small: [] };
  private readonly stack: BenchStack;
  private readonly publication: string;
  private rows = 0;

  private constructor(stack: BenchStack, publication: string) {
    this.stack = stack;
    this.publication = publication;
  }

  static async of(stack: BenchStack): Promise<Side> {
    const result = await stack.source.query('select pubname from pg_publication');
    return new Side(stack, String(result.rows[0]?.pubname));
  }

  async round(round: number, loads: readonly LoadName[]): Promise<string> {
    for (const name of loads) {
      const { count, run } = LOADS[name];
      const load = () => run(this.stack.source, this.rows + 1, count);
      this.drains[name].push(await drainBacklog(this.stack, this.publication, round, load));
      this.rows += count;
    }
    await checkRowCount(this.stack, this.rows);
    return loads.map((name) => `${name} ${formatDrain(this.drains[name].at(-1))}`).join(', ');
  }

  rate(name: LoadName, changes: number, key: keyof Drain): number {
    return (changes * 1000) / median(this.drains[name].map((drain) => drain[key]));
  }
  toBareReader(name: LoadName): number {
    return median(this.drains[name].map((drain) => drain.bareMs / drain.sluiceMs));
  }
}

/** Each adds `count` rows. */
const LOADS = {
  bulk: { count: BULK_ROWS, run: insertBulk },
  mix: { count: MIX_TRANSACTIONS, run: runMix },
  small: { count: SMALL_TRANSACTIONS, run: runSmall },
} as const;

function formatDrain(drain: Drain | undefined): string {
  return drain ? `${drain.sluiceMs.toFixed(0)} ms (bare ${drain.bareMs.toFixed(0)} ms)` : '';
}

/** As the other tables, but their updates name the old row by its key alone. */
const DEFAULT_IDENTITY_SQL = `${BENCH_TABLES_SQL}
alter table bench_rows replica identity default; alter table members replica identity default;`;

await using fullStack = await startBenchStack(BENCH_TABLES_SQL, BENCH_RULES_YAML);
await using defaultStack = await startBenchStack(DEFAULT_IDENTITY_SQL, BENCH_RULES_YAML);
const full = await Side.of(fullStack);
const byKey = await Side.of(defaultStack);
const calibration = calibrate();
for (let round = 0; round < ROUNDS; round++) {
  // Both sides within a round, so that a slow moment of the machine meets both.
  const told = await full.round(round, ['bulk', 'mix', 'small']);
  const toldByKey = await byKey.round(round, ['bulk', 'mix']);
  console.error(`round ${round + 1} of ${ROUNDS}: ${told}; identity DEFAULT: ${toldByKey}`);
}

const MIX_CHANGES = MIX_TRANSACTIONS * 3;
const toFull = (name: LoadName): number =>
  median(byKey.drains[name].map((drain, i) => (full.drains[name][i]?.sluiceMs ?? 0) / drain.sluiceMs));
console.log(
  formatResult(
    {
      bench: 'ingest',
      figures: {
        bulkRowsPerS: full.rate('bulk', BULK_ROWS, 'sluiceMs'),
        mixRowsPerS: full.rate('mix', MIX_CHANGES, 'sluiceMs'),
        smallTxPerS: full.rate('small', SMALL_TRANSACTIONS, 'sluiceMs'),
        bulkDefaultRowsPerS: byKey.rate('bulk', BULK_ROWS, 'sluiceMs'),
        mixDefaultRowsPerS: byKey.rate('mix', MIX_CHANGES, 'sluiceMs'),
      },
      baseline: {
        bulkRowsPerS: full.rate('bulk', BULK_ROWS, 'bareMs'),
        mixRowsPerS: full.rate('mix', MIX_CHANGES, 'bareMs'),
        smallTxPerS: full.rate('small', SMALL_TRANSACTIONS, 'bareMs'),
        bulkDefaultRowsPerS: byKey.rate('bulk', BULK_ROWS, 'bareMs'),
        mixDefaultRowsPerS: byKey.rate('mix', MIX_CHANGES, 'bareMs'),
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
