import { sourceConnectionFromUrl } from '@sluice/replicator';
import { parseAndCompile } from '@sluice/sync-rules';
import pg from 'pg';
import { calibrate } from '../measure/calibration.ts';
import { formatResult } from '../measure/result.ts';
import { median } from '../measure/statistics.ts';
import { copyBare } from '../serve/bare.ts';
import { BENCH_TABLES_SQL, insertBulk } from '../source/bench-tables.ts';
import { type BenchStack, startBenchStack } from '../stack.ts';

/**
 * Copies: a table that is there already, from the call that deploys a stream of it to the checkpoint that shows it, against a COPY
 * of the same table into nothing. Then what the store takes of the disk, with one bucket a row, against the table with its index.
 *
 * SLUICE_BENCH_SCALE shrinks the table and SLUICE_BENCH_ROUNDS the rounds for a try; figures are only comparable without.
 */
const SCALE = Number(process.env.SLUICE_BENCH_SCALE ?? 1);
const ROUNDS = Number(process.env.SLUICE_BENCH_ROUNDS ?? 5);
const ROWS = Math.round(1_000_000 * SCALE);
const FOLD_BUCKETS = 500;

const header = 'version: 1\nstreams:\n';
/** One of the streams that take turns, each copied anew; every row in one of a thousand buckets. */
const grouped = (round: number): string => `${header}  rows_${round}:
    query: SELECT * FROM bench_rows WHERE bucket IN (SELECT bucket FROM members WHERE user_id = auth.user_id())
`;
const bucketPerRow = `${header}  own:
    query: SELECT * FROM bench_rows WHERE email = auth.user_id()
`;
const nothingYet = `${header}  members:
    query: SELECT * FROM members
`;

async function deploy(stack: BenchStack, rulesYaml: string): Promise<void> {
  const { replicator } = stack.dataPlane;
  const catalog = await replicator.readCatalog(sourceConnectionFromUrl(stack.sourceUrl));
  const compiled = await parseAndCompile(rulesYaml, catalog);
  if (compiled.kind === 'invalid') throw new Error(`the rules do not compile: ${JSON.stringify(compiled.diagnostics)}`);
  await replicator.deploy(stack.project, { rules: compiled.rules, rulesVersion: 1 }, () => {});
}

interface Round {
  readonly sluiceMs: number;
  readonly bareMs: number;
}

async function copyOnce(stack: BenchStack, round: number): Promise<Round> {
  const sluice = async (): Promise<number> => {
    const startMs = performance.now();
    await deploy(stack, grouped(round));
    await stack.dataPlane.replicator.heartbeat(stack.project);
    return performance.now() - startMs;
  };
  const bare = (): Promise<number> => copyBare(stack.sourceUrl, 'bench_rows');
  const first = round % 2 === 0 ? await sluice() : await bare();
  const second = round % 2 === 0 ? await bare() : await sluice();
  await checkRows(stack, `rows_${round}`);
  return round % 2 === 0 ? { sluiceMs: first, bareMs: second } : { sluiceMs: second, bareMs: first };
}

async function storeQuery<Row extends pg.QueryResultRow>(
  stack: BenchStack,
  sql: string,
  parameters: unknown[] = [],
): Promise<Row[]> {
  const client = new pg.Client({ connectionString: stack.storeUrl });
  await client.connect();
  try {
    return (await client.query<Row>(sql, parameters)).rows;
  } finally {
    await client.end();
  }
}

async function checkRows(stack: BenchStack, stream: string): Promise<void> {
  const [row] = await storeQuery<{ rows: string | null }>(
    stack,
    `select sum(c.rows_delta)::text as rows from sluice_store.chunk as c join sluice_store.stream as s using (project, stream)
    where s.name = $1`,
    [stream],
  );
  if (Number(row?.rows) !== ROWS) throw new Error(`the store holds ${row?.rows} rows of ${stream}, not ${ROWS}`);
}

/** Bytes of all tables of the store with their indexes, over those of the source's table with its own. */
async function storeToSource(): Promise<{ readonly fresh: number; readonly compacted: number }> {
  await using stack = await startBenchStack(BENCH_TABLES_SQL, nothingYet);
  await insertBulk(stack.source, 1, ROWS);
  await stack.source.query('vacuum analyze bench_rows');
  await deploy(stack, bucketPerRow);
  const fresh = await storeShare(stack);
  await compact(stack);
  await storeQuery(stack, 'vacuum analyze');
  await stack.dataPlane.store.giveBackSpace(new AbortController().signal);
  return { fresh, compacted: await storeShare(stack) };
}

async function storeShare(stack: BenchStack): Promise<number> {
  await storeQuery(stack, 'vacuum analyze');
  const [store] = await storeQuery<{ bytes: string }>(
    stack,
    `select sum(pg_total_relation_size(oid))::text as bytes from pg_class
    where relnamespace = 'sluice_store'::regnamespace and relkind = 'r'`,
  );
  const source = await stack.source.query<{ bytes: string }>(
    `select pg_total_relation_size('bench_rows')::text as bytes`,
  );
  return Number(store?.bytes) / Number(source.rows[0]?.bytes);
}

/** What the compactor does with chunks that nothing supersedes: they are stored more tightly. */
async function compact({ dataPlane, project }: BenchStack): Promise<void> {
  const { store, replicator } = dataPlane;
  const token = await store.acquireCompaction(project, 'bench', 600_000);
  if (token === undefined) throw new Error('somebody else compacts');
  const wanted = (await store.readCheckpoint(project))?.lsn ?? 0n;
  let floors = await store.raiseFloors(project, token, { retentionMs: 0, readableMs: 0 });
  while (!floors || floors.readFrom < wanted) {
    await replicator.heartbeat(project);
    floors = await store.raiseFloors(project, token, { retentionMs: 0, readableMs: 0 });
  }
  await store.beginPass(project, token);
  for (const { stream, visibleAfter } of await store.readStreams(project)) {
    if (visibleAfter === undefined) continue;
    let after: Parameters<typeof store.packBuckets>[2]['after'];
    do {
      const request = { stream, readFrom: floors.readFrom, after, bucketsMax: FOLD_BUCKETS };
      ({ next: after } = await store.packBuckets(project, token, request));
    } while (after !== undefined);
  }
  await store.endPass(project, token);
}

async function copyRounds(): Promise<Round[]> {
  await using stack = await startBenchStack(BENCH_TABLES_SQL, nothingYet);
  await insertBulk(stack.source, 1, ROWS);
  await stack.source.query('vacuum analyze bench_rows');
  await stack.source.query('checkpoint');
  const rounds: Round[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const { sluiceMs, bareMs } = await copyOnce(stack, round);
    rounds.push({ sluiceMs, bareMs });
    console.error(`round ${round + 1} of ${ROUNDS}: ${sluiceMs.toFixed(0)} ms (bare ${bareMs.toFixed(0)} ms)`);
    await storeQuery(stack, 'checkpoint');
  }
  return rounds;
}

const calibration = calibrate();
const rounds = await copyRounds();
const share = await storeToSource();
const rate = (pick: (round: Round) => number): number => (ROWS * 1000) / median(rounds.map(pick));
console.log(
  formatResult(
    {
      bench: 'snapshot',
      figures: { rowsPerS: rate(({ sluiceMs }) => sluiceMs), storeToSourceFresh: share.fresh },
      baseline: { rowsPerS: rate(({ bareMs }) => bareMs) },
      ratio: {
        toBareCopy: median(rounds.map(({ bareMs, sluiceMs }) => bareMs / sluiceMs)),
        storeToSource: share.compacted,
      },
    },
    calibration,
  ),
);
