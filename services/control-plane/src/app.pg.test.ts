import { waitFor } from '@sluice/testkit';
import { expect, test } from 'vitest';
import { scriptedProvisioner, TASKS_RULES } from './testing/scripted-provisioner.ts';
import { testControlPlane } from './testing/test-control-plane.ts';

test('a project goes from nothing to live: source, rules, deploy, visible steps', async () => {
  await using api = await testControlPlane({ provisioner: scriptedProvisioner() });
  const created = await api.call('POST', '/v1/projects', { name: 'Tasks' });
  expect(created.status).toBe(201);
  const project = `/v1/projects/${created.json.ref}`;
  expect((await api.call('GET', `${project}/status`)).json).toEqual({
    status: 'setting-up',
    missing: ['source', 'client-auth', 'rules'],
    problems: [],
  });
  const put = await api.call('PUT', `${project}/source`, {
    connectionString: 'postgres://sluice:canary@127.0.0.1:5432/app?sslmode=disable',
  });
  expect(put.status).toBe(200);
  expect((await api.call('POST', `${project}/source/test`)).json.ok).toBe(true);
  const rules = await api.call('POST', `${project}/rules`, { yaml: TASKS_RULES });
  expect(rules.json).toMatchObject({ version: 1, state: 'validated', diagnostics: [], streams: ['my_tasks'] });
  const deploy = await api.call('POST', `${project}/rules/1/deploy`);
  expect(deploy.status).toBe(202);
  const job = await waitFor(
    async () => {
      const { json } = await api.call('GET', `${project}/provisioning`);
      return json.state === 'succeeded' && json;
    },
    { what: 'the deploy' },
  );
  expect(job.steps.map((step: { name: string; state: string }) => [step.name, step.state])).toEqual(
    ['connect', 'preflight', 'publication', 'slot', 'snapshot', 'live'].map((name) => [name, 'succeeded']),
  );
  expect(job.steps[4]).toMatchObject({ done: 1000, estimate: 1000 });
  expect((await api.call('GET', project)).json).toMatchObject({ activeRulesVersion: 1, source: { state: 'live' } });
});
