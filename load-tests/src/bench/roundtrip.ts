import path from 'node:path';
import { createClient, type SluiceClient } from '@sluice/node';
import { SignJWT } from 'jose';
import pg from 'pg';
import { startChild } from '../latency/latency-child.ts';
import type { LatencyTarget } from '../latency/measure.ts';
import { calibrate } from '../measure/calibration.ts';
import { formatResult } from '../measure/result.ts';
import { median, quantile } from '../measure/statistics.ts';
import { USER } from '../roundtrip/tasks.ts';
import { AUDIENCE, ISSUER } from '../stack.ts';

/**
 * From a local write to its settlement: through the gateway and the writer into the source, and back through the WAL into the
 * client's SQLite. Then how long 1,000 writes take that were made offline. The data plane runs in a process of its own.
 *
 * The baseline is the source's own: one connection that makes the same updates, a transaction each, with fsync.
 *
 * SLUICE_BENCH_WRITES and SLUICE_BENCH_ROUNDS shrink it for a try.
 */
const WRITES = Number(process.env.SLUICE_BENCH_WRITES ?? 500);
const ROUNDS = Number(process.env.SLUICE_BENCH_ROUNDS ?? 5);
const OFFLINE_WRITES = 1000;
const ROWS = 1000;
/** A write that is not settled by then ends the bench: a lost write is not a slow one. */
const SETTLED_MS_MAX = 60_000;

let points = 0;
const update = (): { update: string; values: { id: number; points: number } } => ({
  update: 'tasks',
  values: { id: 1 + (points % ROWS), points: ++points },
});

await using child = await startChild(path.join(import.meta.dirname, '../roundtrip/roundtrip-stack.js'));
const client = await connect(child);
const source = new pg.Client({ connectionString: child.sourceUrl });
await source.connect();
const calibration = calibrate();
const rounds: Record<string, number>[] = [];
for (let round = 0; round < ROUNDS; round++) {
  const times = await roundtrips(WRITES);
  const commits = await bareCommits(OFFLINE_WRITES);
  rounds.push({
    p50Ms: median(times),
    p99Ms: quantile(times, 0.99),
    drain1000S: await drain(),
    commitP50Ms: median(commits),
    commits1000S: commits.reduce((sum, ms) => sum + ms, 0) / 1000,
  });
  console.error(`round ${round + 1} of ${ROUNDS}: ${JSON.stringify(rounds.at(-1))}`);
}
await client.close();
await source.end();

const of = (name: string): number => median(rounds.map((figures) => figures[name] ?? Number.NaN));
console.log(
  formatResult(
    {
      bench: 'roundtrip',
      figures: { p50Ms: of('p50Ms'), p99Ms: of('p99Ms'), drain1000S: of('drain1000S') },
      baseline: { commitP50Ms: of('commitP50Ms'), commits1000S: of('commits1000S') },
      ratio: { p50ToCommit: of('p50Ms') / of('commitP50Ms'), drainToCommits: of('drain1000S') / of('commits1000S') },
    },
    calibration,
  ),
);

async function connect({ gatewayUrl: url, projectRef: project, tokenSecret }: LatencyTarget): Promise<SluiceClient> {
  const token = (): Promise<string> =>
    new SignJWT({})
      .setProtectedHeader({ alg: 'HS256' })
      .setSubject(USER)
      .setIssuer(ISSUER)
      .setAudience(AUDIENCE)
      .setIssuedAt()
      .setExpirationTime('1h')
      .sign(Buffer.from(tokenSecret, 'base64'));
  const opened = await createClient({ url, project, auth: token });
  opened.connect();
  await opened.ready();
  await until(opened, ({ writes }) => writes.state === 'enabled');
  return opened;
}

/** Writes one after the other, each when the one before is settled; milliseconds each. */
async function roundtrips(count: number): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    const startMs = performance.now();
    await client.write(update());
    await until(client, isSettled);
    times.push(performance.now() - startMs);
  }
  return times;
}

/** Seconds from the connection being asked for until all that was written offline is settled. */
async function drain(): Promise<number> {
  client.disconnect();
  await until(client, ({ connection }) => connection === 'offline');
  for (let i = 0; i < OFFLINE_WRITES; i++) await client.write(update());
  const startMs = performance.now();
  client.connect();
  await until(client, isSettled);
  return (performance.now() - startMs) / 1000;
}

/** The same updates by one connection; milliseconds each. */
async function bareCommits(count: number): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    const { id, points: value } = update().values;
    const startMs = performance.now();
    await source.query({ name: 'bare', text: 'update tasks set points = $1 where id = $2', values: [value, id] });
    times.push(performance.now() - startMs);
  }
  return times;
}

type Status = ReturnType<SluiceClient['status']>;
function isSettled({ writes }: Status): boolean {
  if (writes.rejected > 0) throw new Error('a write was refused');
  return writes.pending === 0;
}

function until(of: SluiceClient, isSo: (status: Status) => boolean): Promise<void> {
  if (isSo(of.status())) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => end(() => reject(new Error('a write was not settled'))), SETTLED_MS_MAX);
    // The listener is called at once as well, before it can be taken back.
    let isOver = false;
    const stop = of.onStatus((status) => {
      if (!isOver && isSo(status)) end(resolve);
    });
    function end(tell: () => void): void {
      isOver = true;
      clearTimeout(late);
      queueMicrotask(() => stop());
      tell();
    }
  });
}
