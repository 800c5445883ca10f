import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createClient } from '@sluice/node';
import { calibrate } from '../measure/calibration.ts';
import { formatResult } from '../measure/result.ts';
import { median } from '../measure/statistics.ts';
import { copyBare, receiveBare } from '../serve/bare.ts';
import { type Received, receive } from '../serve/receive.ts';
import { startServeChild } from '../serve/serve-child.ts';
import { SERVED_BUCKETS, USER_OF_ALL, USER_OF_ONE } from '../serve/serve-tables.ts';
import { PROJECT_REF } from '../stack.ts';

/**
 * Serving: from nothing to a whole bucket set. The data plane runs in a process of its own; clients share this one.
 *
 * SLUICE_BENCH_SCALE shrinks the rows and SLUICE_BENCH_ROUNDS the rounds for a try; figures are only comparable without.
 */
const SCALE = Number(process.env.SLUICE_BENCH_SCALE ?? 1);
const ROUNDS = Number(process.env.SLUICE_BENCH_ROUNDS ?? 5);
const ROWS = Math.round(1_000_000 * SCALE);
const SHARING_CLIENTS = 50;

await using child = await startServeChild(ROWS);
const { stack } = child;
const folder = await mkdtemp(path.join(tmpdir(), 'sluice-serve-'));

/** The SDK with a database file: received, inflated, checked, applied and committed. Returns milliseconds. */
async function apply(round: number): Promise<number> {
  const token = await child.token(USER_OF_ALL);
  const startMs = performance.now();
  const client = await createClient({
    url: stack.gatewayUrl,
    project: PROJECT_REF,
    auth: () => token,
    file: path.join(folder, `${round}.db`),
  });
  client.connect();
  await client.ready();
  const durationMs = performance.now() - startMs;
  const [counted] = await client.query<{ n: number }>('select count(*) as n from bench_rows');
  await client.close();
  if (counted?.n !== ROWS) throw new Error(`the client holds ${counted?.n} rows, not ${ROWS}`);
  return durationMs;
}

async function receiveAll(): Promise<Received> {
  const received = await receive(stack.gatewayUrl, await child.token(USER_OF_ALL));
  if (received.rows !== ROWS) throw new Error(`received ${received.rows} rows, not ${ROWS}`);
  return received;
}

/** Many clients at once with one bucket among them. Returns milliseconds until the last has it. */
async function receiveShared(): Promise<number> {
  const token = await child.token(USER_OF_ONE);
  const startMs = performance.now();
  await Promise.all(Array.from({ length: SHARING_CLIENTS }, () => receive(stack.gatewayUrl, token)));
  return performance.now() - startMs;
}

const calibration = calibrate();
const times = { applyMs: [] as number[], receiveMs: [] as number[], sharedMs: [] as number[], copyMs: [] as number[] };
const bareMs: number[] = [];
let bytes = 0;
for (let round = 0; round < ROUNDS; round++) {
  times.copyMs.push(await copyBare(stack.sourceUrl, 'bench_rows'));
  const received = await receiveAll();
  bytes = received.bytes;
  times.receiveMs.push(received.durationMs);
  bareMs.push(await receiveBare(stack.barePort, bytes));
  times.applyMs.push(await apply(round));
  times.sharedMs.push(await receiveShared());
  const shown = Object.entries(times).map(([name, all]) => `${name} ${all.at(-1)?.toFixed(0)}`);
  console.error(`round ${round + 1} of ${ROUNDS}: ${shown.join(', ')}, bareMs ${bareMs.at(-1)?.toFixed(0)}`);
}
await rm(folder, { recursive: true, force: true });

const rate = (count: number, durations: readonly number[]): number => (count * 1000) / median(durations);
const receiveOnlyRowsPerS = rate(ROWS, times.receiveMs);
const copyRowsPerS = rate(ROWS, times.copyMs);
const bareBytesPerS = rate(bytes, bareMs);
console.log(
  formatResult(
    {
      bench: 'serve',
      figures: {
        rowsPerS: rate(ROWS, times.applyMs),
        bytesPerS: rate(bytes, times.receiveMs),
        receiveOnlyRowsPerS,
        sharedRowsPerS: rate((ROWS / SERVED_BUCKETS) * SHARING_CLIENTS, times.sharedMs),
      },
      baseline: { copyRowsPerS, bareBytesPerS },
      ratio: {
        receiveToBareCopy: receiveOnlyRowsPerS / copyRowsPerS,
        receiveToBareSocket: rate(bytes, times.receiveMs) / bareBytesPerS,
      },
    },
    calibration,
  ),
);
