import type { ProjectChange } from '@sluice/database';
import type { ProjectId } from '@sluice/domain';
import { query, waitFor } from '@sluice/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { scriptedProvisioner, TASKS_RULES } from '../testing/scripted-provisioner.ts';
import { type TestControlPlane, testControlPlane } from '../testing/test-control-plane.ts';

const CONNECTION = 'postgres://sluice:first-secret@127.0.0.1:5432/app?sslmode=disable';

let api: TestControlPlane;
beforeAll(async () => {
  api = await testControlPlane({ provisioner: scriptedProvisioner() });
});
afterAll(async () => await api[Symbol.asyncDispose]());

async function newProject(): Promise<{ path: string; id: ProjectId }> {
  const { json } = await api.call('POST', '/v1/projects', { name: 'shop' });
  const listed = (await api.directory.listProjects()).find(({ ref }) => ref === json.ref);
  if (!listed) throw new Error('not listed');
  return { path: `/v1/projects/${json.ref}`, id: listed.projectId };
}

test('a worker learns of a new project, of its source, its rules and its end without being restarted', async () => {
  const changes: ProjectChange[] = [];
  const stop = api.directory.onProjectChanged((change) => changes.push(change));
  const { path, id } = await newProject();
  const heard = async (what: string, act: () => Promise<unknown>) => {
    changes.length = 0;
    await act();
    await waitFor(() => changes.some((change) => change.kind === 'all' || change.projectId === id), { what });
  };
  await heard('the source', () => api.call('PUT', `${path}/source`, { connectionString: CONNECTION }));
  expect((await api.directory.projectOf(id))?.source).toEqual({ revision: 1 });
  await api.call('POST', `${path}/rules`, { yaml: TASKS_RULES });
  expect(await api.directory.activeRulesOf(id)).toBeUndefined();
  await heard('the deploy', () => api.call('POST', `${path}/rules/1/deploy`));
  await waitFor(async () => (await api.directory.projectOf(id))?.activeRulesVersion === 1, { what: 'the rules' });
  expect((await api.directory.activeRulesOf(id))?.compiled.streams.map(({ name }) => name)).toEqual(['my_tasks']);
  await heard('the end', () => api.call('DELETE', `${path}?abandon=true`));
  expect(await api.directory.projectOf(id)).toBeUndefined();
  stop();
});

test('setting the connection that is set already tells nobody and forgets nothing; another one starts anew', async () => {
  const { path, id } = await newProject();
  await api.call('PUT', `${path}/source`, { connectionString: CONNECTION });
  const slot = { slotName: 'sluice_1_a', publicationName: 'sluice_1_a' };
  await api.directory.reportSource(id, { revision: 1, state: 'live', problem: undefined, serverVersion: 180004, slot });
  const same = await api.call('PUT', `${path}/source`, { connectionString: CONNECTION });
  expect(same.json).toMatchObject({ state: 'live', serverVersion: 180004, ...slot });
  expect((await api.directory.projectOf(id))?.source).toEqual({ revision: 1 });
  const other = await api.call('PUT', `${path}/source`, { connectionString: CONNECTION.replace('first', 'second') });
  expect(other.json).toMatchObject({ state: 'unchecked', serverVersion: null, ...slot });
  expect((await api.directory.sourceConnectionOf(id)).password.reveal()).toBe('second-secret');
  // What the stream of the earlier connection still says is not taken for news of this one.
  const late = { state: 'failed', problem: undefined, serverVersion: undefined, slot: undefined } as const;
  await api.directory.reportSource(id, { revision: 1, ...late });
  expect((await api.call('GET', `${path}/source`)).json.state).toBe('unchecked');
});

test('a stream that fails shows its code in the API until it is live again', async () => {
  const { path, id } = await newProject();
  await api.call('PUT', `${path}/source`, { connectionString: CONNECTION });
  const finding = { revision: 1, serverVersion: undefined, slot: undefined };
  const problem = { code: 'SLOT_LOST', details: {} } as const;
  await api.directory.reportSource(id, { ...finding, state: 'failed', problem });
  expect((await api.call('GET', `${path}/status`)).json).toMatchObject({
    status: 'failing',
    problems: [{ code: 'SLOT_LOST' }],
  });
  await api.directory.reportSource(id, { ...finding, state: 'live', problem: undefined });
  expect((await api.call('GET', `${path}/status`)).json.problems).toEqual([]);
});

test('a secret that no key opens any more is made readable again by setting it again', async () => {
  const { path, id } = await newProject();
  await api.call('PUT', `${path}/source`, { connectionString: CONNECTION });
  await query(api.databaseUrl, 'UPDATE source SET password = $1 WHERE project_id = $2', [Buffer.alloc(80), id]);
  await expect(api.directory.sourceConnectionOf(id)).rejects.toMatchObject({ code: 'SECRET_UNREADABLE' });
  expect((await api.call('PUT', `${path}/source`, { connectionString: CONNECTION })).status).toBe(200);
  expect((await api.directory.sourceConnectionOf(id)).password.reveal()).toBe('first-secret');
});

test('a project that is being deleted authenticates nobody', async () => {
  const { path } = await newProject();
  const secret = { kind: 'shared-secret', secret: 'x'.repeat(32), audience: ['sluice:test'] };
  await api.call('PUT', `${path}/client-auth`, secret);
  const ref = path.slice('/v1/projects/'.length);
  expect(await api.directory.clientAuthOf(ref)).toMatchObject({ audience: ['sluice:test'], revision: 1 });
  await query(api.databaseUrl, "UPDATE project SET state = 'deleting' WHERE ref = $1", [ref]);
  expect(await api.directory.clientAuthOf(ref)).toBeUndefined();
  expect(await api.directory.clientAuthOf('p0000000000000000000')).toBeUndefined();
});
