import { AppError } from '@sluice/errors';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type ScriptedProvisioner, scriptedProvisioner, TASKS_RULES } from '../testing/scripted-provisioner.ts';
import { type TestControlPlane, testControlPlane } from '../testing/test-control-plane.ts';

const CONNECTION = 'postgres://sluice:not-a-secret@127.0.0.1:5432/app?sslmode=disable';
let api: TestControlPlane;
let provisioner: ScriptedProvisioner;
let rules: string;

beforeAll(async () => {
  provisioner = scriptedProvisioner();
  api = await testControlPlane({ provisioner });
});
afterAll(async () => await api[Symbol.asyncDispose]());
beforeEach(async () => {
  const { json } = await api.call('POST', '/v1/projects', { name: 'shop' });
  await api.call('PUT', `/v1/projects/${json.ref}/source`, { connectionString: CONNECTION });
  rules = `/v1/projects/${json.ref}/rules`;
  provisioner.calls.length = 0;
});

test('a check says what deploying would do, and keeps nothing', async () => {
  const { status, json } = await api.call('POST', `${rules}/check`, { yaml: TASKS_RULES });
  expect(status).toBe(200);
  expect(json).toEqual({
    isDeployable: true,
    diagnostics: [],
    changes: {
      against: null,
      added: [{ stream: 'my_tasks', table: 'tasks', source: 'public.tasks', replaces: false, rowsEstimate: 1_200 }],
      kept: [],
      dropped: [],
    },
  });
  expect((await api.call('GET', rules)).json).toEqual({ versions: [] });
});

test('a check of rules with problems has each with its place', async () => {
  const { status, json } = await api.call('POST', `${rules}/check`, { yaml: TASKS_RULES.replace('owner_id', 'ownr') });
  expect([status, json.isDeployable, json.changes]).toEqual([200, false, null]);
  expect(json.diagnostics).toMatchObject([{ code: 'RULES_COLUMN_UNKNOWN', line: 4 }]);
});

test('L11: changes tell streams that are copied anew from those that stay', async () => {
  const other = '  all_tasks:\n    query: SELECT id, title FROM tasks\n    table: titles\n';
  await api.call('POST', rules, { yaml: TASKS_RULES + other });
  await api.call('POST', rules, { yaml: TASKS_RULES.replace('owner_id = ', "title = 'x' AND owner_id = ") + other });
  const { json } = await api.call('GET', `${rules}/2/changes?against=1`);
  expect(json).toMatchObject({
    against: 1,
    added: [{ stream: 'my_tasks', replaces: true, rowsEstimate: 1_200 }],
    kept: [{ stream: 'all_tasks', table: 'titles' }],
    dropped: [{ stream: 'my_tasks' }],
  });
  expect((await api.call('GET', `${rules}/2/changes`)).json).toMatchObject({ against: null, dropped: [] });
});

test('a preview and an explanation ask with the claims given, and answer what was found', async () => {
  await api.call('POST', rules, { yaml: TASKS_RULES });
  const membership = { table: 'public.members', column: 'team', values: ['7'], isComplete: true };
  const head = { name: 'my_tasks', table: 'tasks', columns: [{ name: 'id', pgType: 'bigint' }], keyColumns: 1 };
  provisioner.streams = [
    { ...head, rows: [['1']], count: 1, isCountExact: true, memberships: [membership], code: undefined },
  ];
  const preview = await api.call('POST', `${rules}/1/preview`, { claims: { sub: 'ann', app: { org: 7 } } });
  expect([preview.status, preview.json.streams[0].rows, preview.json.streams[0].code]).toEqual([200, [['1']], null]);

  const condition = { kind: 'claim', text: 'owner_id = auth.user_id()', holds: undefined } as const;
  const compared = { column: 'owner_id', value: undefined, claim: '"ann"', membership: undefined };
  provisioner.explanation = {
    isThere: false,
    row: {},
    streams: [{ name: 'my_tasks', sees: false, alternatives: [[{ ...condition, ...compared }]] }],
  };
  const asked = { claims: { sub: 'ann' }, table: 'tasks', key: ['42'] };
  const { json } = await api.call('POST', `${rules}/1/explain`, asked);
  expect(json.streams[0].alternatives[0][0]).toEqual({
    ...condition,
    ...compared,
    holds: null,
    value: null,
    membership: null,
  });
  expect(provisioner.calls.slice(-2)).toEqual([
    'preview 1 {"sub":"ann","app":{"org":7}} 20',
    'explain 1 {"sub":"ann"} tasks 42',
  ]);
});

test('what cannot be answered has a code', async () => {
  await api.call('POST', rules, { yaml: 'version: 1\nstreams: {}\nwhat: 1\n' });
  const codeOf = async (path: string, body: unknown): Promise<unknown> =>
    (await api.call('POST', `${rules}${path}`, body)).json.code;
  expect(await codeOf('/1/preview', { claims: {} })).toBe('RULES_VERSION_NOT_DEPLOYABLE');
  expect(await codeOf('/9/preview', { claims: {} })).toBe('RULES_VERSION_NOT_FOUND');
  expect(await codeOf('/x/explain', { claims: {}, table: 't', key: ['1'] })).toBe('RULES_VERSION_NOT_FOUND');
  for (const bad of [{}, { claims: 'x' }, { claims: { a: 'x'.repeat(9_000) } }, { claims: {}, rowsMax: 101 }])
    expect(await codeOf('/1/preview', bad)).toBe('API_REQUEST_INVALID');
  for (const key of [[], ['x'.repeat(9_000)], [1], Array.from({ length: 33 }, () => 'k')])
    expect(await codeOf('/1/explain', { claims: {}, table: 't', key })).toBe('API_REQUEST_INVALID');
  expect((await api.call('GET', `${rules}/1/changes?against=1%27`)).json.code).toBe('RULES_VERSION_NOT_DEPLOYABLE');
});

test('what the source says comes through as its code', async () => {
  await api.call('POST', rules, { yaml: TASKS_RULES });
  provisioner.failure = new AppError('RULES_TABLE_NOT_SYNCED', { details: { table: 'x' } });
  const { status, json } = await api.call('POST', `${rules}/1/explain`, { claims: {}, table: 'x', key: ['1'] });
  provisioner.failure = undefined;
  expect([status, json.code]).toEqual([422, 'RULES_TABLE_NOT_SYNCED']);
});
