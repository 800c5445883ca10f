import { delay, parseProjectId } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import { systemClock } from '@sluice/telemetry';
import { type FreshRedis, freshRedis, tcpProxy, waitFor } from '@sluice/testkit';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import type { Upload, UploadAnswer, Uploads } from '../port.ts';
import { createRemoteUploads, type RemoteUploads, type RemoteUploadsOptions } from './remote-uploads.ts';
import { type ServedUploads, serveUploads } from './serve-uploads.ts';

const by = { clock: systemClock, onTrouble: () => {}, answerTimeoutMs: 1_000 };
let redis: FreshRedis;
const open: { close(): unknown }[] = [];

beforeAll(async () => {
  redis = await freshRedis();
});
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close();
});
afterAll(async () => await redis[Symbol.asyncDispose]());

function upload(seq: number, project = 1): Upload {
  return {
    ...{ project: parseProjectId(project), ref: 'demo', subject: 'ann', claims: { sub: 'ann' }, seq, refusalsKept: 0 },
    ...{ clientId: '0198c0de-0000-7000-8000-000000000001', transactions: [new Uint8Array(100).fill(seq)] },
  };
}
const recorded = (seq: number): UploadAnswer => ({ result: 'recorded', code: '', expected: seq + 1 });

/** Somebody who does the work, in the place of the writer; what a test does not give it answers well. */
async function writer(
  id: string,
  hands: Partial<Uploads> = {},
  url = redis.url,
): Promise<ServedUploads & { taken: Upload[] }> {
  const taken: Upload[] = [];
  const uploads: Uploads = {
    stateOf: async () => ({ state: 'enabled', code: '' }),
    write: async ({ seq }) => recorded(seq),
    ...hands,
  };
  const served = await serveUploads({
    ...{ ...by, id, url },
    uploads: {
      stateOf: (project) => uploads.stateOf(project),
      write(one) {
        taken.push(one);
        return uploads.write(one);
      },
    },
  });
  open.push(served);
  return Object.assign(served, { taken });
}
async function gateway(options: Partial<RemoteUploadsOptions> = {}): Promise<RemoteUploads> {
  const remote = await createRemoteUploads({ ...by, url: redis.url, ...options });
  open.push(remote);
  return remote;
}
const isServed = (remote: RemoteUploads) => async () => (await remote.stateOf(parseProjectId(1))).state === 'enabled';

it('an upload and its answer travel whole, and a refusal of the client as its code', async () => {
  const { taken } = await writer('w', {
    write: async (one) => {
      if (one.seq === 3) throw new AppError('WRITE_CLIENT_FOREIGN');
      if (one.seq === 4) throw new TypeError('a mistake of ours');
      return one.seq === 2 ? { result: 'gap', code: '', expected: 1 } : recorded(one.seq);
    },
  });
  const remote = await gateway();
  await waitFor(isServed(remote), { what: 'the writer' });
  expect(await remote.write(upload(1))).toEqual(recorded(1));
  expect(taken).toEqual([upload(1)]);
  expect(await remote.write(upload(2))).toEqual({ result: 'gap', code: '', expected: 1 });
  await expect(remote.write(upload(3))).rejects.toMatchObject({ code: 'WRITE_CLIENT_FOREIGN' });
  expect(await remote.write(upload(4))).toEqual({ result: 'retry', code: 'WRITES_FAILED', expected: 4 });
  expect(await remote.stateOf(parseProjectId(1))).toEqual({ state: 'enabled', code: '' });
});

it('without a writer uploads wait at the clients, and are taken as soon as there is one', async () => {
  const remote = await gateway();
  expect(await remote.stateOf(parseProjectId(1))).toEqual({ state: 'unavailable', code: 'WRITES_NOT_SERVED' });
  expect(await remote.write(upload(1))).toEqual({ result: 'retry', code: 'WRITES_NOT_SERVED', expected: 1 });
  await writer('late');
  await waitFor(isServed(remote), { what: 'the writer' });
  expect(await remote.write(upload(1))).toEqual(recorded(1));
});

it('one project goes to one writer, from whichever gateway, and many projects to all', async () => {
  const [a, b] = [await writer('a'), await writer('b')];
  const gateways = [await gateway(), await gateway()];
  for (const remote of gateways) await waitFor(isServed(remote), { what: 'the writers' });
  for (let project = 1; project <= 20; project++)
    for (const remote of gateways) expect(await remote.write(upload(1, project))).toEqual(recorded(1));
  const projectsOf = ({ taken }: typeof a): Set<number> => new Set(taken.map(({ project }) => project));
  expect(a.taken.length + b.taken.length).toBe(40);
  expect(projectsOf(a).size + projectsOf(b).size).toBe(20);
  expect(Math.min(projectsOf(a).size, projectsOf(b).size)).toBeGreaterThan(2);
});

it('a writer that is stopped finishes what it took, and another takes the rest', async () => {
  let finish = (): void => {};
  const held = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const first = await writer('first', {
    write: async ({ seq }) => {
      await held;
      return recorded(seq);
    },
  });
  const remote = await gateway();
  await waitFor(isServed(remote), { what: 'the writer' });
  const underWay = remote.write(upload(1));
  await waitFor(() => first.taken.length === 1, { what: 'the upload to be taken' });
  const second = await writer('second');
  const closed = first.close();
  const later: Promise<UploadAnswer>[] = [];
  const isOtherAsked = (): boolean => {
    later.push(remote.write(upload(2)));
    return second.taken.length > 0;
  };
  await waitFor(isOtherAsked, { what: 'the other to be asked' });
  finish();
  for (const answer of await Promise.all(later)) expect(answer).toEqual(recorded(2));
  expect(await underWay).toEqual(recorded(1));
  await closed;
});

it('who waits for a writer that hears and answers no more is told to come again, and the next is asked', async () => {
  await using proxy = await tcpProxy({ port: redis.port });
  const frozen = await writer('frozen', { write: () => new Promise(() => {}) }, `redis://127.0.0.1:${proxy.port}`);
  const remote = await gateway();
  await waitFor(isServed(remote), { what: 'the writer' });
  const waiting = remote.write(upload(1));
  await waitFor(() => frozen.taken.length === 1, { what: 'the upload to be taken' });
  // As a stopped process: its connections stay, and nothing comes of them.
  proxy.swallow('toTarget');
  const other = await writer('other');
  expect(await waiting).toEqual({ result: 'retry', code: 'WRITES_BUSY', expected: 1 });
  expect(await remote.write(upload(1))).toEqual(recorded(1));
  expect(other.taken).toHaveLength(1);
  // It waits for its upload for ever, which a real writer does not.
  open.splice(open.indexOf(frozen), 1);
});

it('a cut of the gateway’s link tells all who wait, and heals', async () => {
  await using proxy = await tcpProxy({ port: redis.port });
  let finish = (): void => {};
  const slow = await writer('slow', {
    write: ({ seq }) =>
      new Promise((resolve) => {
        finish = () => resolve(recorded(seq));
      }),
  });
  const remote = await gateway({ url: `redis://127.0.0.1:${proxy.port}` });
  await waitFor(isServed(remote), { what: 'the writer' });
  const waiting = remote.write(upload(1));
  await waitFor(() => slow.taken.length === 1, { what: 'the upload to be taken' });
  proxy.cut();
  expect(await waiting).toEqual({ result: 'retry', code: 'WRITES_BUSY', expected: 1 });
  finish();
  await waitFor(isServed(remote), { what: 'the link to be back' });
});

it('an emptied or restarted Redis costs no more than a moment', async () => {
  await using own = await freshRedis();
  await writer('w', {}, own.url);
  const remote = await gateway({ url: own.url });
  await waitFor(isServed(remote), { what: 'the writer' });
  await own.command('FLUSHALL');
  await waitFor(async () => (await remote.write(upload(1))).result === 'recorded', { what: 'uploads after FLUSHALL' });
  await own.kill();
  expect((await remote.write(upload(2))).result).toBe('retry');
  await own.restart();
  await waitFor(async () => (await remote.write(upload(3))).result === 'recorded', { what: 'uploads after a restart' });
});

it('L16: more of one project than may wait comes again, and others are not held up', async () => {
  const { taken } = await writer('w', {
    write: (one) => (one.project === 1 ? new Promise(() => {}) : Promise.resolve(recorded(one.seq))),
  });
  const remote = await gateway({ perProject: { count: 3, bytes: 1 << 20 } });
  await waitFor(isServed(remote), { what: 'the writer' });
  const held = [1, 2, 3].map((seq) => remote.write(upload(seq)));
  await waitFor(() => taken.length === 3, { what: 'what may wait' });
  expect(await remote.write(upload(4))).toEqual({ result: 'retry', code: 'WRITES_BUSY', expected: 4 });
  expect(await remote.write(upload(1, 2))).toEqual(recorded(1));
  remote.close();
  expect((await Promise.all(held)).map(({ result }) => result)).toEqual(['retry', 'retry', 'retry']);
  open.splice(0, 1);
});

it('a process that finds no Redis says so', async () => {
  const url = 'redis://127.0.0.1:1';
  await expect(gateway({ url, startTimeoutMs: 300 })).rejects.toMatchObject({ code: 'QUEUE_UNAVAILABLE' });
  const serving = serveUploads({ ...by, id: 'w', url, startTimeoutMs: 300, uploads: undefined as never });
  await expect(serving).rejects.toMatchObject({ code: 'QUEUE_UNAVAILABLE' });
  await delay(systemClock, 0);
});
