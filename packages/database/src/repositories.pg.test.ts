import { type ProjectId, parseProjectId } from '@sluice/domain';
import { type FreshDatabase, freshDatabase, manualClock } from '@sluice/testkit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Database, migrate, openDatabase, type SourceAddress } from './index.ts';

const address: SourceAddress = {
  host: 'db.example.com',
  port: 5432,
  database: 'app',
  user: 'sluice',
  tlsMode: 'verify-full',
  tlsCa: undefined,
};
const sealed = async (): Promise<Uint8Array> => new Uint8Array([1, 2, 3]);
let fresh: FreshDatabase;
let db: Database;

beforeAll(async () => {
  fresh = await freshDatabase('repositories');
  await migrate({ url: fresh.url });
  db = openDatabase({ url: fresh.url, clock: manualClock() });
});
afterAll(async () => {
  await db.close();
  await fresh[Symbol.asyncDispose]();
});

async function projectWithRules(): Promise<{ id: ProjectId; ref: string; version: number }> {
  const { id, ref } = await db.projects.create('shop');
  await db.sources.put(id, address, sealed);
  const { version } = await db.rules.create(id, { yaml: 'streams: {}', plan: { streams: [] }, diagnostics: [] });
  return { id, ref, version };
}

describe('what belongs to another project', () => {
  test('answers exactly what something missing answers, for every kind of thing', async () => {
    const owner = await projectWithRules();
    const job = await db.jobs.enqueueDeploy(owner.id, owner.version);
    const { id: stranger } = await db.projects.create('stranger');
    await expect(db.rules.get(stranger, owner.version)).rejects.toMatchObject({ code: 'RULES_VERSION_NOT_FOUND' });
    await expect(db.rules.get(owner.id, 999)).rejects.toMatchObject({ code: 'RULES_VERSION_NOT_FOUND' });
    await expect(db.jobs.get(stranger, job.jobNo)).rejects.toMatchObject({ code: 'JOB_NOT_FOUND' });
    await expect(db.sources.get(stranger)).rejects.toMatchObject({ code: 'SOURCE_NOT_SET' });
    await expect(db.clientAuths.get(stranger)).rejects.toMatchObject({ code: 'CLIENT_AUTH_NOT_SET' });
    expect(await db.rules.list(stranger, 10)).toEqual([]);
    expect(await db.jobs.latest(stranger)).toBeUndefined();
    const missing = parseProjectId(2 ** 31 - 1);
    await expect(db.projects.byId(missing)).rejects.toMatchObject({ code: 'PROJECT_NOT_FOUND' });
    await expect(db.sources.put(missing, address, sealed)).rejects.toMatchObject({ code: 'PROJECT_NOT_FOUND' });
  });
});

describe('a deploy', () => {
  test('brings its rules into force and takes the earlier edition out in the same moment', async () => {
    const { id, version } = await projectWithRules();
    await deploy(id, version);
    const second = await db.rules.create(id, { yaml: 'streams: {}', plan: { streams: [] }, diagnostics: [] });
    await deploy(id, second.version);
    expect((await db.rules.list(id, 10)).map(({ version: no, state }) => [no, state])).toEqual([
      [2, 'active'],
      [1, 'superseded'],
    ]);
    expect((await db.rules.active(id))?.version).toBe(2);
  });

  test('that fails leaves the rules in force as they were', async () => {
    const { id, version } = await projectWithRules();
    await deploy(id, version);
    const second = await db.rules.create(id, { yaml: 'streams: {}', plan: { streams: [] }, diagnostics: [] });
    const { hold } = await begun(id, (await db.jobs.enqueueDeploy(id, second.version)).jobNo);
    await db.jobs.fail(hold, { code: 'SOURCE_PREFLIGHT_FAILED', details: { failed: 'wal_level' } });
    expect((await db.rules.active(id))?.version).toBe(version);
    expect((await db.rules.get(id, second.version)).state).toBe('failed');
    expect((await db.jobs.latest(id))?.problem).toEqual({
      code: 'SOURCE_PREFLIGHT_FAILED',
      details: { failed: 'wal_level' },
    });
  });

  test('is refused while another of the project is unfinished, without a source, and for a draft', async () => {
    const { id, version } = await projectWithRules();
    const attempts = await Promise.allSettled([1, 2, 3].map(() => db.jobs.enqueueDeploy(id, version)));
    const refused = attempts.filter((attempt) => attempt.status === 'rejected');
    expect(refused.map(({ reason }) => reason.code)).toEqual(['PROJECT_BUSY', 'PROJECT_BUSY']);
    const draft = await db.rules.create(id, { yaml: '', plan: undefined, diagnostics: [] });
    await expect(db.jobs.enqueueDeploy(id, draft.version)).rejects.toMatchObject({
      code: 'RULES_VERSION_NOT_DEPLOYABLE',
    });
    const { id: bare } = await db.projects.create('bare');
    await expect(db.jobs.enqueueDeploy(bare, 1)).rejects.toMatchObject({ code: 'SOURCE_NOT_SET' });
  });

  test('taken over by a later attempt refuses every write of the earlier one', async () => {
    const { id, version } = await projectWithRules();
    const { jobNo } = await db.jobs.enqueueDeploy(id, version);
    const { hold: earlier } = await begun(id, jobNo);
    const { hold: later } = await begun(id, jobNo);
    await expect(db.jobs.startStep(earlier, 'connect')).rejects.toMatchObject({ code: 'JOB_SUPERSEDED' });
    await expect(db.jobs.succeed(earlier)).rejects.toMatchObject({ code: 'JOB_SUPERSEDED' });
    await db.jobs.startStep(later, 'connect');
    await db.jobs.succeed(later);
    expect(await db.jobs.begin(id, jobNo)).toBeUndefined();
  });
});

describe('upkeep', () => {
  test('waits for rules in force, is one job at a time with deploys, and gives way to a deletion', async () => {
    const { id, version } = await projectWithRules();
    await expect(db.jobs.enqueueUpkeep(id, { kind: 'audit' })).rejects.toMatchObject({ code: 'PROJECT_NOT_SERVED' });
    await deploy(id, version);
    const audit = await db.jobs.enqueueUpkeep(id, { kind: 'audit' });
    const reshard = { kind: 'reshard', shards: 4 } as const;
    await expect(db.jobs.enqueueUpkeep(id, reshard)).rejects.toMatchObject({ code: 'PROJECT_BUSY' });
    const { hold } = await begun(id, audit.jobNo);
    await db.jobs.succeed(hold, { lsn: '0/1', streams: [] });
    expect((await db.jobs.get(id, audit.jobNo)).report).toEqual({ lsn: '0/1', streams: [] });
    expect((await db.jobs.enqueueUpkeep(id, reshard)).shards).toBe(4);
    expect((await db.projects.overview(id)).latestJob?.kind).toBe('deploy');
    await db.jobs.enqueueRelease(id);
    await expect(db.jobs.enqueueUpkeep(id, reshard)).rejects.toMatchObject({ code: 'PROJECT_DELETING' });
  });
});

describe('deleting a project', () => {
  test('ends its deploy, refuses new work, erases everything it owned and never gives its ref again', async () => {
    const { id, ref, version } = await projectWithRules();
    const { hold } = await begun(id, (await db.jobs.enqueueDeploy(id, version)).jobNo);
    const release = await db.jobs.enqueueRelease(id);
    expect(release.kind).toBe('release');
    await expect(db.jobs.finishStep(hold, 'slot')).rejects.toMatchObject({ code: 'JOB_SUPERSEDED' });
    await expect(db.sources.put(id, address, sealed)).rejects.toMatchObject({ code: 'PROJECT_DELETING' });
    expect((await db.jobs.enqueueRelease(id)).jobNo).toBe(release.jobNo);
    await db.projects.erase(id);
    await expect(db.projects.byRef(ref)).rejects.toMatchObject({ code: 'PROJECT_NOT_FOUND' });
    expect(await db.sources.find(id)).toBeUndefined();
    expect((await db.jobs.unfinished()).map(({ projectId }) => projectId)).not.toContain(id);
  });
});

describe('a source', () => {
  test('keeps its slot when its connection is replaced, and forgets what was found about the one before', async () => {
    const { id } = await projectWithRules();
    const slot = { slotName: 'sluice_1_abc', publicationName: 'sluice_1_abc' };
    await db.sources.report(id, { revision: 1, state: 'live', problem: undefined, serverVersion: 180004, slot });
    expect(await db.sources.get(id)).toMatchObject({ state: 'live', serverVersion: 180004, slot });
    const after = await db.sources.put(id, { ...address, host: 'other.example.com' }, sealed);
    expect(after).toMatchObject({
      slot,
      revision: 2,
      state: 'unchecked',
      serverVersion: undefined,
    });
    await db.sources.report(id, {
      revision: 1,
      state: 'failed',
      problem: undefined,
      serverVersion: undefined,
      slot: undefined,
    });
    expect((await db.sources.get(id)).state).toBe('unchecked');
  });
});

test('projects are listed in pages, in order of creation', async () => {
  const first = await db.projects.create('page 1');
  const second = await db.projects.create('page 2');
  const third = await db.projects.create('page 3');
  const page = await db.projects.list({ afterRef: first.ref, limit: 1 });
  expect(page.map(({ ref }) => ref)).toEqual([second.ref]);
  expect((await db.projects.list({ afterRef: second.ref, limit: 1 })).map(({ ref }) => ref)).toEqual([third.ref]);
});

async function begun(projectId: ProjectId, jobNo: number) {
  const taken = await db.jobs.begin(projectId, jobNo);
  if (!taken) throw new Error('the job is finished');
  return taken;
}

async function deploy(projectId: ProjectId, version: number): Promise<void> {
  const { hold } = await begun(projectId, (await db.jobs.enqueueDeploy(projectId, version)).jobNo);
  await db.jobs.succeed(hold);
}
