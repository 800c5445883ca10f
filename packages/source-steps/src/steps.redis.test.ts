import { parseProjectId } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import { systemClock } from '@sluice/telemetry';
import { type FreshRedis, freshRedis, waitFor } from '@sluice/testkit';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { createRemoteProvisioner, type RemoteProvisioner } from './remote-provisioner.ts';
import type { ApplyProgress, RulesToApply } from './source-provisioner.ts';
import { type StepHands, type StepTaker, takeSteps } from './take-steps.ts';

const PROJECT = { projectId: parseProjectId(7), ref: 'p7' };
const RULES: RulesToApply = { version: 3, yaml: '', compiled: { formatVersion: 1, streams: [], tables: [] } as never };
const onError = (): void => {};
const never = new AbortController().signal;

let redis: FreshRedis;
let provisioner: RemoteProvisioner;
const takers: StepTaker[] = [];

beforeAll(async () => {
  redis = await freshRedis();
});
beforeEach(() => {
  provisioner = createRemoteProvisioner({ redisUrl: redis.url, clock: systemClock, onError });
});
afterEach(async () => {
  await Promise.all(takers.splice(0).map((taker) => taker.close()));
  await provisioner.close();
});
afterAll(async () => await redis[Symbol.asyncDispose]());

/** A process that takes steps; what a test does not give it fails. */
function taker(hands: Partial<StepHands>): StepTaker {
  const fails = (): never => {
    throw new Error('not in this test');
  };
  const all: StepHands = {
    preflight: fails,
    catalog: fails,
    estimateRows: fails,
    preview: fails,
    explain: fails,
    apply: fails,
    reshard: fails,
    audit: fails,
    release: fails,
    ...hands,
  };
  const made = takeSteps({ redisUrl: redis.url, hands: all, clock: systemClock, onError });
  takers.push(made);
  return made;
}

test('a question and its answer travel whole', async () => {
  const tables = [{ schema: 'public', name: 'tasks' }];
  const checks = [{ check: 'wal_level', ok: false, code: 'SOURCE_UNREACHABLE', sql: 'x', message: 'y' }] as const;
  let asked: unknown;
  taker({
    async preflight(project, wanted) {
      asked = { project, wanted };
      return checks;
    },
  });
  expect(await provisioner.preflight(PROJECT, tables)).toEqual(checks);
  expect(asked).toEqual({ project: 7, wanted: tables });
});

test('whose eyes a preview looks through, and which row is to be explained, travel whole', async () => {
  const asked: unknown[] = [];
  const explained = { isThere: false, row: {}, streams: [] };
  taker({
    async preview(...args) {
      asked.push(args);
      return [];
    },
    async explain(...args) {
      asked.push(args);
      return explained;
    },
    async estimateRows(...args) {
      asked.push(args);
      return [12];
    },
  });
  const claims = { sub: 'ann', app: { org: 7 } };
  const tables = [{ schema: 'public', name: 'tasks' }];
  expect(await provisioner.preview(PROJECT, RULES, { claims, rowsMax: 5 })).toEqual([]);
  expect(await provisioner.explain(PROJECT, RULES, { claims, table: 'tasks', key: ['1', 'b'] })).toEqual(explained);
  expect(await provisioner.estimateRows(PROJECT, tables)).toEqual([12]);
  expect(asked).toEqual([
    [7, 3, expect.objectContaining({ claims, rowsMax: 5 })],
    [7, 3, expect.objectContaining({ claims, table: 'tasks', key: ['1', 'b'] })],
    [7, tables],
  ]);
});

test('an error travels as its code and details', async () => {
  taker({
    async catalog() {
      throw new AppError('SLOT_BLOCKED', { details: { pid: 12 } });
    },
  });
  await expect(provisioner.catalog(PROJECT)).rejects.toMatchObject({ code: 'SLOT_BLOCKED', details: { pid: 12 } });
});

test('a deploy goes to the process that holds the source, and its progress comes back', async () => {
  let refused = 0;
  taker({
    async apply() {
      refused++;
      return 'elsewhere';
    },
  });
  const progress: ApplyProgress[] = [];
  const done = provisioner.apply(PROJECT, RULES, async (step) => void progress.push(step), never);
  await waitFor(() => refused > 1, { what: 'a process that does not hold it to be asked' });
  taker({
    async apply(_project, version, onProgress) {
      onProgress({ step: 'snapshot', done: version, estimate: 10 });
      await waitFor(() => progress.length > 0, { what: 'the progress to arrive' });
      return 'done';
    },
  });
  await done;
  expect(progress).toEqual([{ step: 'snapshot', done: 3, estimate: 10 }]);
});

test('a resharding and an audit go to the process that holds the source, and what was found comes back whole', async () => {
  const size = { buckets: 2, rows: 3 };
  const findings = { lsn: '0/16', streams: [{ name: 'tasks', isEqual: true, served: size, source: size }] };
  let refused = 0;
  const elsewhere = async (): Promise<'elsewhere'> => {
    refused++;
    return 'elsewhere';
  };
  taker({ reshard: elsewhere, audit: elsewhere });
  const resharded = provisioner.reshard(PROJECT, 4, never);
  const audited = provisioner.audit(PROJECT, never);
  await waitFor(() => refused > 2, { what: 'a process that does not hold it to be asked' });
  const asked: number[] = [];
  taker({
    async reshard(_project, shards) {
      asked.push(shards);
      return 'done';
    },
    audit: async () => findings,
  });
  await resharded;
  expect(asked).toEqual([4]);
  expect(await audited).toEqual(findings);
});

test('a step that is withdrawn is given up', async () => {
  let begun = 0;
  let ended = 0;
  taker({
    async apply(_project, _version, _onProgress, signal) {
      begun++;
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      ended++;
      throw new AppError('REPLICATOR_STOPPED');
    },
  });
  const withdraw = new AbortController();
  const asked = provisioner.apply(PROJECT, RULES, async () => {}, withdraw.signal);
  await waitFor(() => begun === 1, { what: 'the deploy' });
  withdraw.abort(new Error('withdrawn'));
  await expect(asked).rejects.toThrow('withdrawn');
  await waitFor(() => ended === 1, { what: 'the end of the work' });
});

test('what a closing process works on is done by another', async () => {
  let begun = false;
  const first = taker({
    async release(_project, signal) {
      begun = true;
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('stopped'))));
    },
  });
  const done = provisioner.release(PROJECT, never);
  await waitFor(() => begun, { what: 'the release' });
  let isDone = false;
  taker({
    async release() {
      isDone = true;
    },
  });
  await first.close();
  await done;
  expect(isDone).toBe(true);
});

test('a question that nobody takes says that no replicator is there', async () => {
  await expect(provisioner.catalog(PROJECT)).rejects.toMatchObject({ code: 'SOURCE_WORKER_MISSING' });
});
