import { fork } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createClient, type SluiceClient } from '@sluice/node';
import { SignJWT } from 'jose';
import pg from 'pg';
import { calibrate } from '../measure/calibration.ts';
import { formatResult } from '../measure/result.ts';
import { median, quantile } from '../measure/statistics.ts';
import { AUDIENCE, ISSUER, PROJECT_REF } from '../stack.ts';

/**
 * Latency: from before COMMIT is sent to committed in the client's SQLite. The data plane runs in a process of its own;
 * the clients, real SDK cores, share this one with the writer.
 */
const CHANGES_PER_SECOND = 100;
const CHANGES = Number(process.env.SLUICE_BENCH_CHANGES ?? 1000);
const WARM_UP_CHANGES = 100;
const ROUNDS = 5;
const CLIENT_COUNTS = [1, 50, 200] as const;
/** A change that has not arrived by then ends the bench: a lost change is not a slow one. */
const ARRIVAL_MS_MAX = 30_000;

interface Stack {
  readonly sourceUrl: string;
  readonly gatewayUrl: string;
  readonly tokenSecret: string;
}
interface Follower {
  readonly client: SluiceClient;
  /** The item that this client watches. */
  readonly item: number;
  /** Versions that were sent and have not arrived. */
  readonly waiting: Map<number, number>;
}

const child = fork(path.join(import.meta.dirname, 'latency-stack.js'), {
  stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
});
const [stack] = (await once(child, 'message')) as [Stack]; // Sent by latency-stack.ts.
const writer = new pg.Client({ connectionString: stack.sourceUrl });
await writer.connect();
let version = 0;

async function token(user: string): Promise<string> {
  return new SignJWT({})
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject(user)
    .setIssuer(ISSUER)
    .setAudience(AUDIENCE)
    .setIssuedAt()
    .setExpirationTime('2h')
    .sign(Buffer.from(stack.tokenSecret, 'base64'));
}

/** Connects clients; `shared` puts all of them in one bucket, else each has its own. */
async function connect(count: number, shared: boolean, latencies: number[]): Promise<Follower[]> {
  return Promise.all(
    Array.from({ length: count }, async (_, index) => {
      const user = shared ? 'shared' : `user-${index}`;
      const client = await createClient({ url: stack.gatewayUrl, project: PROJECT_REF, auth: () => token(user) });
      const follower: Follower = { client, item: shared ? -1 : index, waiting: new Map() };
      client.live<{ id: number; version: number }>('select id, version from items', [], (rows) => {
        const nowMs = performance.now();
        for (const row of rows)
          for (const [sent, atMs] of follower.waiting)
            if (row.version >= sent) {
              latencies.push(nowMs - atMs);
              follower.waiting.delete(sent);
            }
      });
      client.connect();
      await client.ready();
      return follower;
    }),
  );
}

/** Sends changes at a steady pace and resolves when all have arrived at everybody they concern. */
async function sendChanges(followers: readonly Follower[], shared: boolean, count: number): Promise<void> {
  const startMs = performance.now();
  for (let i = 0; i < count; i++) {
    const dueMs = startMs + (i * 1000) / CHANGES_PER_SECOND;
    const waitMs = dueMs - performance.now();
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
    version++;
    const target = followers[i % followers.length];
    if (!target) throw new RangeError('no clients');
    const id = shared ? 100_000 : target.item;
    await writer.query('begin');
    await writer.query({ name: 'change', text: 'update items set version = $1 where id = $2', values: [version, id] });
    const sentMs = performance.now();
    for (const follower of shared ? followers : [target]) follower.waiting.set(version, sentMs);
    await writer.query('commit');
  }
  const deadlineMs = performance.now() + ARRIVAL_MS_MAX;
  while (followers.some((follower) => follower.waiting.size > 0)) {
    if (performance.now() > deadlineMs) throw new Error('a change did not arrive');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function measure(count: number, shared: boolean): Promise<number[]> {
  const latencies: number[] = [];
  const followers = await connect(count, shared, latencies);
  await sendChanges(followers, shared, WARM_UP_CHANGES);
  latencies.length = 0;
  await sendChanges(followers, shared, shared ? Math.ceil(CHANGES / 5) : CHANGES);
  await Promise.all(followers.map((follower) => follower.client.close()));
  return latencies;
}

const calibration = calibrate();
const rounds: Record<string, number>[] = [];
for (let round = 0; round < ROUNDS; round++) {
  const figures: Record<string, number> = {};
  for (const count of CLIENT_COUNTS) {
    const latencies = await measure(count, false);
    figures[`p50Ms${count}`] = median(latencies);
    figures[`p99Ms${count}`] = quantile(latencies, 0.99);
  }
  const shared = await measure(200, true);
  figures.sharedP50Ms200 = median(shared);
  figures.sharedP99Ms200 = quantile(shared, 0.99);
  rounds.push(figures);
  console.error(`round ${round + 1} of ${ROUNDS}: ${JSON.stringify(figures)}`);
}
const commitMs = await commitBaseline();
await writer.end();
child.disconnect();
await once(child, 'exit');

/** What the source's own commit takes at the same pace, in this run. */
async function commitBaseline(): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < 300; i++) {
    await writer.query('begin');
    await writer.query({
      name: 'change',
      text: 'update items set version = $1 where id = $2',
      values: [++version, i % 200],
    });
    const startMs = performance.now();
    await writer.query('commit');
    times.push(performance.now() - startMs);
  }
  return median(times);
}

const names = Object.keys(rounds[0] ?? {});
const figures = Object.fromEntries(
  names.map((name) => [name, median(rounds.map((round) => round[name] ?? Number.NaN))]),
);
console.log(
  formatResult(
    {
      bench: 'latency',
      figures,
      baseline: { commitP50Ms: commitMs },
      ratio: {
        p50At200To1: (figures.p50Ms200 ?? Number.NaN) / (figures.p50Ms1 ?? Number.NaN),
        sharedToDistinctAt200: (figures.sharedP50Ms200 ?? Number.NaN) / (figures.p50Ms200 ?? Number.NaN),
        p50At1ToCommit: (figures.p50Ms1 ?? Number.NaN) / commitMs,
      },
    },
    calibration,
  ),
);
