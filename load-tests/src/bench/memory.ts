import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createPostgresBucketStore } from '@sluice/bucket-store';
import { type Lsn, parseProjectId } from '@sluice/domain';
import pg from 'pg';
import { calibrate } from '../measure/calibration.ts';
import { formatResult } from '../measure/result.ts';
import { type PartOptions, startPart } from '../memory/part.ts';
import { connectStalled } from '../memory/stalled-client.ts';
import { receive } from '../serve/receive.ts';
import { tokenFor } from '../serve/token.ts';
import { BENCH_RULES_YAML, BENCH_TABLES_SQL, BUCKETS, insertBulk } from '../source/bench-tables.ts';
import { endOfLoad, startBenchServer } from '../stack.ts';

/**
 * Memory: the peak resident set of a process with nothing but replicator and bucket worker during a transaction of a
 * million rows and during one ten times larger, and of a process with nothing but a gateway while 50 clients have stopped
 * reading, which the commits and a client that reads go past.
 *
 * SLUICE_BENCH_SCALE shrinks the transactions for a try; figures are only comparable without.
 */
const SCALE = Number(process.env.SLUICE_BENCH_SCALE ?? 1);
const ROWS = Math.round(1_000_000 * SCALE);
const STALLED_CLIENTS = 50;
const BUCKETS_PER_CLIENT = BUCKETS / STALLED_CLIENTS;
/** How long commits go on once the clients have stopped reading: longer than it takes to find a client stalled. */
const STALLED_MS = 45_000;
const COMMIT_EVERY_MS = 50;
const CHECKPOINT_WITHIN_MS = 30 * 60_000;

// The parts inherit it, as docs/running-services.md has services started: large buffers go back to the system when they are freed.
process.env.MALLOC_MMAP_THRESHOLD_ ??= '1000000';
const home = await mkdtemp(path.join(tmpdir(), 'sluice-memory-'));
await chmod(home, 0o755); // The servers may run as another account.
const sourceServer = await startBenchServer(home, 'source');
const storeServer = await startBenchServer(home, 'store');
const source = new pg.Client({ connectionString: sourceServer.url });
await source.connect();
await source.query(`${BENCH_TABLES_SQL}
insert into members
select ${BUCKETS} + b, 'stalled-' || b / ${BUCKETS_PER_CLIENT}, b from generate_series(0, ${BUCKETS - 1}) b;`);
const store = createPostgresBucketStore({ url: storeServer.url, poolMax: 2 });
const options: PartOptions = {
  sourceUrl: sourceServer.url,
  storeUrl: storeServer.url,
  tokenSecret: randomBytes(32).toString('base64'),
  rulesYaml: BENCH_RULES_YAML,
};

async function untilCheckpoint(lsn: Lsn): Promise<void> {
  const deadlineMs = performance.now() + CHECKPOINT_WITHIN_MS;
  while (((await store.readCheckpoint(parseProjectId(1)))?.lsn ?? 0n) < lsn) {
    if (performance.now() > deadlineMs) throw new Error('the transaction was not applied in time');
    await pause(200);
  }
}
function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

const calibration = calibrate();

/** Peaks of the replicator's process: before any load, after a transaction, and after the tenfold one. */
async function measureReplicator(): Promise<{ idleMb: number; onceMb: number; tenfoldMb: number }> {
  await using replicator = await startPart('replicator-part.js', options);
  const idleMb = replicator.peakMb();
  await insertBulk(source, 1, ROWS);
  await untilCheckpoint(await endOfLoad(source));
  const onceMb = replicator.peakMb();
  console.error(`replicator: ${idleMb.toFixed(0)} MB idle, ${onceMb.toFixed(0)} MB at ${ROWS} rows`);
  await insertBulk(source, ROWS + 1, ROWS * 10);
  await untilCheckpoint(await endOfLoad(source));
  const tenfoldMb = replicator.peakMb();
  console.error(`replicator: ${tenfoldMb.toFixed(0)} MB at ${ROWS * 10} rows`);
  return { idleMb, onceMb, tenfoldMb };
}

/** Peaks of the gateway's process: before any client, and after all of it. */
async function measureGateway(): Promise<{ idleMb: number; stalledMb: number }> {
  await using _replicator = await startPart('replicator-part.js', options);
  await using gateway = await startPart('gateway-part.js', options);
  const idleMb = gateway.peakMb();
  const token = (user: string): Promise<string> => tokenFor(options.tokenSecret, user);
  const sockets = await Promise.all(
    Array.from({ length: STALLED_CLIENTS }, async (_, i) => connectStalled(gateway.said, await token(`stalled-${i}`))),
  );
  const endMs = performance.now() + STALLED_MS;
  while (performance.now() < endMs) {
    await source.query(
      `update bench_rows set version = version + 1 where id in (select 1 + (random() * 10000)::int from generate_series(1, 100))`,
    );
    await pause(COMMIT_EVERY_MS);
  }
  const received = await receive(gateway.said, await token('stalled-0'));
  const stalledMb = gateway.peakMb();
  console.error(
    `gateway: ${idleMb.toFixed(0)} MB idle, ${stalledMb.toFixed(0)} MB; a reader got ${received.rows} rows`,
  );
  for (const socket of sockets) socket.terminate();
  return { idleMb, stalledMb };
}

const ofReplicator = await measureReplicator();
const ofGateway = await measureGateway();
await store.close();
await source.end();
await sourceServer.stop();
await storeServer.stop();
await rm(home, { recursive: true, force: true });
console.log(
  formatResult(
    {
      bench: 'memory',
      figures: { replicatorMb: Math.max(ofReplicator.onceMb, ofReplicator.tenfoldMb), gatewayMb: ofGateway.stalledMb },
      baseline: { replicatorIdleMb: ofReplicator.idleMb, gatewayIdleMb: ofGateway.idleMb },
      ratio: { tenfoldToOnce: ofReplicator.tenfoldMb / ofReplicator.onceMb },
    },
    calibration,
  ),
);
