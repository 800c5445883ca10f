import { type Database, type JobRecord, migrate, openDatabase } from '@sluice/database';
import type { ProjectId } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import { parseAndCompile } from '@sluice/sync-rules';
import { createLogger, createMetrics, systemClock } from '@sluice/telemetry';
import { type FaultPoint, type FreshDatabase, faultPoints, freshDatabase, manualClock } from '@sluice/testkit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { controlPlaneEvents } from '../events.ts';
import { type ScriptedProvisioner, scriptedProvisioner, TASKS_RULES } from '../testing/scripted-provisioner.ts';
import { runProvisioningJob } from './run-provisioning-job.ts';

const clock = manualClock();
let fresh: FreshDatabase;
let database: Database;
beforeAll(async () => {
  fresh = await freshDatabase('run_job');
  await migrate({ url: fresh.url });
  database = openDatabase({ url: fresh.url, clock });
});
afterAll(async () => {
  await database.close();
  await fresh[Symbol.asyncDispose]();
});

const logger = createLogger({ service: 'test', level: 'error', clock: systemClock, destination: { write() {} } });

/** One turn at the job, as the queue would give it. */
async function turn(
  job: { projectId: ProjectId; jobNo: number },
  options: { provisioner: ScriptedProvisioner; faultPoint?: FaultPoint; isLastTry?: boolean; signal?: AbortSignal },
): Promise<void> {
  await runProvisioningJob(
    {
      database,
      provisioner: options.provisioner,
      checkRules: parseAndCompile,
      clock,
      events: controlPlaneEvents(logger, createMetrics({ service: 'test' })),
      faultPoint: options.faultPoint,
    },
    {
      projectId: job.projectId,
      jobNo: job.jobNo,
      isLastTry: options.isLastTry ?? false,
      signal: options.signal ?? new AbortController().signal,
    },
  );
}

async function enqueuedDeploy(): Promise<JobRecord> {
  const { id } = await database.projects.create('job');
  const address = { host: 'h', port: 5432, database: 'd', user: 'u', tlsMode: 'disable', tlsCa: undefined } as const;
  await database.sources.put(id, address, async () => new Uint8Array(1));
  const rules = await database.rules.create(id, { yaml: TASKS_RULES, plan: { streams: [] }, diagnostics: [] });
  return await database.jobs.enqueueDeploy(id, rules.version);
}

/** What an onlooker sees of a job in the end, without times and numbers of attempts. */
async function outcomeOf({ projectId, jobNo }: JobRecord) {
  const { state, problem, steps } = await database.jobs.get(projectId, jobNo);
  const { activeRulesVersion, source } = await database.projects.overview(projectId);
  return {
    state,
    problem,
    activeRulesVersion,
    sourceState: source?.state,
    steps: steps.map(({ startedAt: _startedAt, finishedAt: _finishedAt, ...step }) => step),
  };
}

describe('a job whose process dies', () => {
  const stepNames = ['connect', 'preflight', 'publication', 'slot', 'snapshot', 'live'];
  const places = stepNames.flatMap((name) => [`step ${name} started`, `step ${name} finished`]);

  test.each(places)('at "%s" is resumed by the next turn and ends as an undisturbed one', async (place) => {
    const undisturbed = await enqueuedDeploy();
    await turn(undisturbed, { provisioner: scriptedProvisioner() });

    const job = await enqueuedDeploy();
    const faults = faultPoints();
    const { reached } = faults.arm(place);
    const dead = scriptedProvisioner();
    const died = turn(job, { provisioner: dead, faultPoint: faults.point });
    await reached; // And there it stays: nothing after this place has happened.

    const next = scriptedProvisioner();
    await turn(job, { provisioner: next });
    expect(await outcomeOf(job)).toEqual(await outcomeOf(undisturbed));
    expect((await database.jobs.get(job.projectId, job.jobNo)).attempts).toBe(2);
    // What was finished is not done again: connect reads the catalog, preflight checks.
    const isPast = (name: string) => places.indexOf(place) >= places.indexOf(`step ${name} finished`);
    expect(next.calls.includes('catalog')).toBe(!isPast('connect'));
    expect(next.calls.includes('preflight')).toBe(!isPast('preflight'));

    // Should the dead come back, it finds its hold gone, writes nothing and ends quietly.
    faults.releaseAll();
    await died;
    expect(await outcomeOf(job)).toEqual(await outcomeOf(undisturbed));
  });
});

describe('a job that fails', () => {
  test('for a reason that heals is tried again, visibly', async () => {
    const job = await enqueuedDeploy();
    const provisioner = scriptedProvisioner();
    provisioner.failure = new AppError('SOURCE_UNREACHABLE');
    await expect(turn(job, { provisioner })).rejects.toMatchObject({ code: 'SOURCE_UNREACHABLE' });
    const waiting = await database.jobs.get(job.projectId, job.jobNo);
    expect(waiting.state).toBe('running');
    expect(waiting.steps[0]).toMatchObject({
      name: 'connect',
      state: 'failed',
      problem: { code: 'SOURCE_UNREACHABLE' },
    });
    provisioner.failure = undefined;
    await turn(job, { provisioner });
    expect(await outcomeOf(job)).toMatchObject({ state: 'succeeded', problem: undefined });
  });

  test('for the last time, or for a reason that a person must put right, ends with its code', async () => {
    const tired = await enqueuedDeploy();
    const failing = scriptedProvisioner();
    failing.failure = new Error('nobody gave this a code');
    await turn(tired, { provisioner: failing, isLastTry: true });
    expect(await outcomeOf(tired)).toMatchObject({ state: 'failed', problem: { code: 'SOURCE_STEP_FAILED' } });

    const refused = await enqueuedDeploy();
    const unfit = scriptedProvisioner();
    unfit.checks = [
      { check: 'wal_level', ok: false, code: 'SOURCE_WAL_LEVEL', sql: 'ALTER SYSTEM ...', message: 'replica' },
      { check: 'replica_identity public.tasks', ok: false, code: 'SOURCE_REPLICA_IDENTITY', message: 'default' },
    ];
    await turn(refused, { provisioner: unfit });
    const outcome = await outcomeOf(refused);
    expect(outcome).toMatchObject({
      state: 'failed',
      problem: { code: 'SOURCE_PREFLIGHT_FAILED', details: { failed: ['wal_level', 'replica_identity public.tasks'] } },
      sourceState: 'failed',
      activeRulesVersion: undefined,
    });
    expect(outcome.steps[1]?.checks).toEqual(unfit.checks);
    expect(unfit.calls).not.toContain('apply');
  });

  test('because the rules do not fit the tables any more names each problem, and nothing is applied', async () => {
    const { id } = await database.projects.create('job');
    const address = { host: 'h', port: 5432, database: 'd', user: 'u', tlsMode: 'disable', tlsCa: undefined } as const;
    await database.sources.put(id, address, async () => new Uint8Array(1));
    const yaml = TASKS_RULES.replace('owner_id', 'owner');
    const rules = await database.rules.create(id, { yaml, plan: { streams: [] }, diagnostics: [] });
    const job = await database.jobs.enqueueDeploy(id, rules.version);
    const provisioner = scriptedProvisioner();
    await turn(job, { provisioner });
    expect(await outcomeOf(job)).toMatchObject({
      state: 'failed',
      problem: { code: 'RULES_VERSION_NOT_DEPLOYABLE', details: { problems: ['RULES_COLUMN_UNKNOWN in line 4'] } },
    });
    expect(provisioner.calls).toEqual(['catalog']);
  });
});

describe('a stopping process', () => {
  test('leaves the job to the next one, even when the work does not heed the signal', async () => {
    const job = await enqueuedDeploy();
    const stopping = new AbortController();
    const deaf = scriptedProvisioner();
    let isApplying = () => {};
    const applying = new Promise<void>((resolve) => {
      isApplying = resolve;
    });
    deaf.apply = () => {
      isApplying();
      return new Promise(() => {});
    };
    const stopped = turn(job, { provisioner: deaf, signal: stopping.signal });
    await applying;
    stopping.abort();
    await expect(stopped).rejects.toThrow('stopping');
    expect((await database.jobs.get(job.projectId, job.jobNo)).state).toBe('running');
    await turn(job, { provisioner: scriptedProvisioner() });
    expect(await outcomeOf(job)).toMatchObject({ state: 'succeeded' });
  });
});

test('deleting a project releases its source first, then erases it', async () => {
  const { projectId } = await enqueuedDeploy();
  const release = await database.jobs.enqueueRelease(projectId);
  const provisioner = scriptedProvisioner();
  provisioner.failure = new AppError('SOURCE_UNREACHABLE');
  await expect(turn(release, { provisioner })).rejects.toMatchObject({ code: 'SOURCE_UNREACHABLE' });
  expect((await database.projects.byId(projectId)).state).toBe('deleting');
  provisioner.failure = undefined;
  await turn(release, { provisioner });
  await expect(database.projects.byId(projectId)).rejects.toMatchObject({ code: 'PROJECT_NOT_FOUND' });
});
