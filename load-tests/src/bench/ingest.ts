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

await using stack = await startBenchStack(BENCH_TABLES_SQL, BENCH_RULES_YAML);
const publication = String((await stack.source.query('select pubname from pg_publication')).rows[0]?.pubname);
const calibration = calibrate();
const drains = { bulk: [] as Drain[], mix: [] as Drain[], small: [] as Drain[] };
let rows = 0;
for (let round = 0; round < ROUNDS; round++) {
  drains.bulk.push(await drainBacklog(stack, publication, round, () => insertBulk(stack.source, rows + 1, BULK_ROWS)));
  rows += BULK_ROWS;
  drains.mix.push(
    await drainBacklog(stack, publication, round, () => runMix(stack.source, rows + 1, MIX_TRANSACTIONS)),
  );
  rows += MIX_TRANSACTIONS;
  drains.small.push(
    await drainBacklog(stack, publication, round, () => runSmall(stack.source, rows + 1, SMALL_TRANSACTIONS)),
  );
  rows += SMALL_TRANSACTIONS;
  await checkRowCount(stack, rows);
  const last = (name: keyof typeof drains): string => {
    const drain = drains[name].at(-1);
    return drain ? `${name} ${drain.sluiceMs.toFixed(0)} ms (bare ${drain.bareMs.toFixed(0)} ms)` : name;
  };
  console.error(`round ${round + 1} of ${ROUNDS}: ${last('bulk')}, ${last('mix')}, ${last('small')}`);
}

const rate = (name: keyof typeof drains, count: number, key: keyof Drain): number =>
  (count * 1000) / median(drains[name].map((drain) => drain[key]));
const ratio = (name: keyof typeof drains): number => median(drains[name].map((drain) => drain.bareMs / drain.sluiceMs));
console.log(
  formatResult(
    {
      bench: 'ingest',
      figures: {
        bulkRowsPerS: rate('bulk', BULK_ROWS, 'sluiceMs'),
        mixRowsPerS: rate('mix', MIX_TRANSACTIONS * 3, 'sluiceMs'),
        smallTxPerS: rate('small', SMALL_TRANSACTIONS, 'sluiceMs'),
      },
      baseline: {
        bulkRowsPerS: rate('bulk', BULK_ROWS, 'bareMs'),
        mixRowsPerS: rate('mix', MIX_TRANSACTIONS * 3, 'bareMs'),
        smallTxPerS: rate('small', SMALL_TRANSACTIONS, 'bareMs'),
      },
      ratio: { bulkToBareReader: ratio('bulk'), mixToBareReader: ratio('mix'), smallToBareReader: ratio('small') },
    },
    calibration,
  ),
);
