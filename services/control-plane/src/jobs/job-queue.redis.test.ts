import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { AppError } from '@sluice/errors';
import { type FreshRedis, freshRedis, query, waitFor } from '@sluice/testkit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { scriptedProvisioner, TASKS_RULES } from '../testing/scripted-provisioner.ts';
import { TEST_TOKEN, type TestControlPlane, testControlPlane } from '../testing/test-control-plane.ts';

const killable = fileURLToPath(new URL('../../dist/testing/control-plane-process.js', import.meta.url));

/** A project whose first rules are validated and ready to be deployed. */
async function projectWithRules(api: TestControlPlane): Promise<string> {
  const { json } = await api.call('POST', '/v1/projects', { name: 'Tasks' });
  const project = `/v1/projects/${json.ref}`;
  const connectionString = 'postgres://sluice:secret@127.0.0.1:5432/app?sslmode=disable';
  await api.call('PUT', `${project}/source`, { connectionString });
  expect((await api.call('POST', `${project}/rules`, { yaml: TASKS_RULES })).json.state).toBe('validated');
  return project;
}

async function jobIs(api: TestControlPlane, project: string, state: string, timeoutMs = 10_000) {
  const isSo = async () => {
    const { json } = await api.call('GET', `${project}/provisioning`);
    return json.state === state ? json : undefined;
  };
  return await waitFor(isSo, { what: `the job to be ${state}`, timeoutMs });
}

let redis: FreshRedis;
beforeAll(async () => {
  redis = await freshRedis();
});
afterAll(async () => await redis[Symbol.asyncDispose]());

describe.each([
  ['the control database', () => undefined],
  ['Redis', () => redis.url],
])('with the job queue in %s', (_where, redisUrl: () => string | undefined) => {
  test('a deploy whose process is killed in the middle of the snapshot is finished by the next process', async () => {
    const provisioner = scriptedProvisioner();
    await using api = await testControlPlane({ redisUrl: redisUrl(), provisioner });
    const project = await projectWithRules(api);
    await api.stop();

    const child = spawn(
      process.execPath,
      [killable, api.databaseUrl, api.keyFile, TEST_TOKEN, ...[redisUrl() ?? []].flat()],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    const exited = once(child, 'exit');
    try {
      const lines = createInterface({ input: child.stdout });
      const reached = once(lines, 'line');
      await enqueueWithoutQueue(api);
      expect((await reached)[0]).toBe('reached');
    } finally {
      child.kill('SIGKILL');
      await exited;
    }

    provisioner.calls.length = 0;
    await api.restart();
    const halfway = await api.call('GET', `${project}/provisioning`);
    expect(halfway.json.steps[4]).toMatchObject({ name: 'snapshot', state: 'running', done: 400, estimate: 1000 });
    const job = await jobIs(api, project, 'succeeded', 40_000);
    expect(job.attempts).toBe(2);
    expect(job.steps.map((step: { state: string }) => step.state)).toEqual(Array(6).fill('succeeded'));
    // The steps that were finished before the kill are not done again.
    expect(provisioner.calls).toEqual(['apply']);
  });

  test('a failure that heals is tried again by itself; the reason shows meanwhile', async () => {
    const provisioner = scriptedProvisioner();
    await using api = await testControlPlane({ redisUrl: redisUrl(), provisioner });
    const project = await projectWithRules(api);
    provisioner.failure = new AppError('SOURCE_UNREACHABLE');
    await api.call('POST', `${project}/rules/1/deploy`);
    const failing = await waitFor(
      async () => {
        const { json } = await api.call('GET', `${project}/provisioning`);
        return json.steps[0].problem && json;
      },
      { what: 'the reason' },
    );
    expect(failing).toMatchObject({
      state: 'running',
      steps: [{ problem: { code: 'SOURCE_UNREACHABLE' } }, {}, {}, {}, {}, {}],
    });
    expect((await api.call('POST', `${project}/rules/1/deploy`)).json.code).toBe('PROJECT_BUSY');
    provisioner.failure = undefined;
    await jobIs(api, project, 'succeeded');
  });

  test('a job whose row stands but which the queue has lost is run', async () => {
    await using api = await testControlPlane({ redisUrl: redisUrl(), provisioner: scriptedProvisioner() });
    const project = await projectWithRules(api);
    await enqueueWithoutQueue(api);
    await api.restart();
    await jobIs(api, project, 'succeeded');
  });

  test('a control plane without a provisioner keeps jobs for one that has', async () => {
    await using api = await testControlPlane({ redisUrl: redisUrl(), provisioner: scriptedProvisioner() });
    const project = await projectWithRules(api);
    await api.restart({ provisioner: undefined });
    expect((await api.call('POST', `${project}/rules/1/deploy`)).json.state).toBe('queued');
    await api.restart({ provisioner: scriptedProvisioner() });
    await jobIs(api, project, 'succeeded');
  });

  test('a project is deleted with its slot, or abandoned with the SQL to run', async () => {
    const provisioner = scriptedProvisioner();
    await using api = await testControlPlane({ redisUrl: redisUrl(), provisioner });
    const released = await projectWithRules(api);
    expect((await api.call('DELETE', released)).json).toEqual({ state: 'deleting', warning: null });
    await waitFor(async () => (await api.call('GET', released)).status === 404, { what: 'the deletion' });
    expect(provisioner.calls).toContain('release');

    const abandoned = await projectWithRules(api);
    const { json } = await api.call('DELETE', `${abandoned}?abandon=true`);
    expect(json).toMatchObject({ state: 'deleted', warning: { code: 'SOURCE_RELEASE_INCOMPLETE' } });
    expect(json.warning.remedy).toContain("pg_replication_slots WHERE starts_with(slot_name, 'sluice_");
    expect(await api.directory.listProjects()).toEqual([]);
    expect(await query(api.databaseUrl, 'SELECT 1 FROM source')).toEqual([]);
  });
});

/** What a process leaves that dies between writing a job's row and queueing it. */
async function enqueueWithoutQueue(api: TestControlPlane): Promise<void> {
  await query(
    api.databaseUrl,
    `UPDATE rules_version SET state = 'deploying';
     INSERT INTO provisioning_job (project_id, job_no, kind, rules_version) SELECT project_id, 1, 'deploy', 1 FROM source;
     INSERT INTO provisioning_step (project_id, job_no, ordinal, name)
     SELECT project_id, 1, ordinal - 1, name FROM source,
       unnest(ARRAY['connect', 'preflight', 'publication', 'slot', 'snapshot', 'live']) WITH ORDINALITY AS step (name, ordinal)`,
  );
}

test('a Redis that loses everything loses no job', async () => {
  await using crashing = await freshRedis();
  const provisioner = scriptedProvisioner();
  await using api = await testControlPlane({ redisUrl: crashing.url, provisioner });
  const project = await projectWithRules(api);
  provisioner.failure = new AppError('SOURCE_UNREACHABLE');
  await api.call('POST', `${project}/rules/1/deploy`);
  await waitFor(async () => (await api.call('GET', `${project}/provisioning`)).json.steps[0].problem, {
    what: 'a failed try',
  });
  await crashing.kill();
  provisioner.failure = undefined;
  await crashing.restart();
  // The sweep finds the row whose job the queue has forgotten.
  await jobIs(api, project, 'succeeded', 40_000);
});
