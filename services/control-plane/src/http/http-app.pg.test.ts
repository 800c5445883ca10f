import { AppError } from '@sluice/errors';
import { query, waitFor } from '@sluice/testkit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { describeApi } from '../openapi/describe-api.ts';
import { type ScriptedProvisioner, scriptedProvisioner, TASKS_RULES } from '../testing/scripted-provisioner.ts';
import { type Answer, TEST_TOKEN, type TestControlPlane, testControlPlane } from '../testing/test-control-plane.ts';

const CANARY = 'canary-3f9c1e7a5b2d4860-canary-3f9c1e';
const CONNECTION = `postgres://sluice:${CANARY}@127.0.0.1:5432/app?sslmode=disable`;

const NO_PROJECT = { ...new AppError('PROJECT_NOT_FOUND').toPublic(), requestId: undefined };

let api: TestControlPlane;
let provisioner: ScriptedProvisioner;
beforeAll(async () => {
  provisioner = scriptedProvisioner();
  api = await testControlPlane({ provisioner });
});
afterAll(async () => await api[Symbol.asyncDispose]());

async function newProject(): Promise<string> {
  const { json } = await api.call('POST', '/v1/projects', { name: 'shop' });
  return `/v1/projects/${json.ref}`;
}

async function projectWithSource(): Promise<string> {
  const project = await newProject();
  expect((await api.call('PUT', `${project}/source`, { connectionString: CONNECTION })).status).toBe(200);
  return project;
}

interface Operation {
  readonly method: string;
  readonly path: string;
}
async function operations(): Promise<readonly Operation[]> {
  const { paths } = JSON.parse(await describeApi()) as { paths: Record<string, Record<string, unknown>> };
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => ({ method: method.toUpperCase(), path: path.replace(/\{\w+\}/g, '1') })),
  );
}

describe('the token', () => {
  test('is asked of every route but health, whatever it is', async () => {
    const closed = (await operations()).filter(({ path }) => !path.startsWith('/health/'));
    expect(closed.length).toBeGreaterThan(15);
    for (const { method, path } of closed)
      for (const authorization of [
        undefined,
        '',
        'Bearer',
        'Bearer wrong',
        `Basic ${TEST_TOKEN}`,
        `Bearer  ${TEST_TOKEN}`,
      ]) {
        const answer = await api.send(path, { method, headers: authorization ? { authorization } : {} });
        expect([method, path, answer.status, answer.json.code]).toEqual([method, path, 401, 'API_UNAUTHENTICATED']);
      }
  });

  test('is not asked by health, which says nothing else', async () => {
    expect((await api.send('/health/live', {})).json).toEqual({ status: 'ok' });
    expect((await api.send('/health/ready', {})).json).toEqual({ status: 'ok' });
  });

  test('is asked before anything is said about a body', async () => {
    const answer = await api.send('/v1/projects', { method: 'POST', body: 'x'.repeat(2_000_000) });
    expect(answer.json.code).toBe('API_UNAUTHENTICATED');
    expect((await api.send('/v1/nothing', {})).json.code).toBe('API_UNAUTHENTICATED');
  });
});

describe('a secret', () => {
  test('is in no answer, no log line and no column, on any route and through any error', async () => {
    const project = await projectWithSource();
    const secret = { kind: 'shared-secret', secret: CANARY, audience: ['sluice:test'] };
    expect((await api.call('PUT', `${project}/client-auth`, secret)).status).toBe(200);
    provisioner.failure = new Error('the connection broke');
    const answers: Answer[] = [
      await api.call('GET', project),
      await api.call('GET', `${project}/source`),
      await api.call('GET', `${project}/client-auth`),
      await api.call('GET', `${project}/status`),
      await api.call('POST', `${project}/source/test`),
      await api.call('POST', `${project}/rules`, { yaml: TASKS_RULES }),
      await api.call('PUT', `${project}/source`, { connectionString: `${CONNECTION}&host=${CANARY}` }),
      await api.call('PUT', `${project}/source`, { connectionString: [CONNECTION] }),
      await api.call('PUT', `${project}/source`, { connectionString: CONNECTION, ca: CANARY }),
      await api.call('PUT', `${project}/client-auth`, { ...secret, algorithms: ['RS256'] }),
      await api.call('PUT', `${project}/client-auth`, { ...secret, secret: { [CANARY]: 1 } }),
      await api.send(`${project}/source`, {
        method: 'PUT',
        headers: { authorization: `Bearer ${TEST_TOKEN}`, 'content-type': 'application/json' },
        body: `{"connectionString": "${CONNECTION}`,
      }),
      await api.call('GET', '/v1/projects?limit=200'),
    ];
    provisioner.failure = undefined;
    for (const { text } of answers) expect(text).not.toContain(CANARY.slice(0, 16));
    expect(api.logged.join('')).not.toContain(CANARY);
    expect(api.logged.join('')).not.toContain(TEST_TOKEN);
    const dump = await query(
      api.databaseUrl,
      "SELECT query_to_xml('SELECT s, c FROM source s FULL JOIN client_auth c USING (project_id)', true, true, '')::text AS dump",
    );
    const stored = JSON.stringify(dump);
    expect(stored).not.toContain(CANARY);
    expect(stored).not.toContain(Buffer.from(CANARY).toString('hex'));
    expect(stored).not.toContain(Buffer.from(CANARY).toString('base64'));
  });

  test('swapped between projects in the database does not open, and says so with a code', async () => {
    const refs = await Promise.all([projectWithSource(), projectWithSource()]);
    const [a, b] = await Promise.all(
      refs.map(async (project) => {
        const listed = await api.directory.listProjects();
        const found = listed.find(({ ref }) => project.endsWith(ref));
        if (!found) throw new Error('not listed');
        return found.projectId;
      }),
    );
    if (a === undefined || b === undefined) throw new Error('two projects');
    expect((await api.directory.sourceConnectionOf(a)).password.reveal()).toBe(CANARY);
    await query(
      api.databaseUrl,
      'UPDATE source SET password = (SELECT password FROM source WHERE project_id = $1) WHERE project_id = $2',
      [a, b],
    );
    await expect(api.directory.sourceConnectionOf(b)).rejects.toMatchObject({ code: 'SECRET_UNREADABLE' });
  });
});

describe('a project of somebody else', () => {
  test('and what belongs to it answers exactly as what does not exist', async () => {
    const mine = await projectWithSource();
    const other = await projectWithSource();
    expect((await api.call('POST', `${mine}/rules`, { yaml: TASKS_RULES })).status).toBe(201);
    const withoutId = ({ status, json }: Answer) => ({ status, body: { ...json, requestId: undefined } });
    const missing = 'p0000000000000000000';
    for (const { method, path } of (await operations()).filter((each) => each.path.startsWith('/v1/projects/1'))) {
      const body = bodyFor(path, method);
      const answers = await Promise.all(
        [missing, 'nonsense', "p'%20OR%201=1--"].map((ref) =>
          api.call(method, path.replace('/v1/projects/1', `/v1/projects/${ref}`), body),
        ),
      );
      for (const answer of answers)
        expect([method, path, withoutId(answer)]).toEqual([method, path, { status: 404, body: NO_PROJECT }]);
    }
    const foreign = await api.call('GET', `${other}/rules/1`);
    const absent = await api.call('GET', `${other}/rules/999`);
    expect(withoutId(foreign)).toEqual(withoutId(absent));
    expect(foreign.status).toBe(404);
    for (const version of ['0', '-1', '1e3', '9999999999', '1.5', 'x', '01'])
      expect(withoutId(await api.call('GET', `${other}/rules/${version}`))).toEqual(withoutId(absent));
  });
});

describe('a request that is not what the route takes', () => {
  test.each<[string, unknown]>([
    ['an unknown field', { name: 'shop', admin: true }],
    ['no body', undefined],
    ['a wrong type', { name: 7 }],
    ['an array for a text', { name: ['shop'] }],
    ['an empty name', { name: '  ' }],
    ['a name that is too long', { name: 'x'.repeat(101) }],
    ['a line break in a name', { name: 'a\r\nb' }],
    ['a direction override in a name', { name: 'a\u202eb' }],
    ['NUL in a name', { name: 'a\u0000b' }],
    ['a lone surrogate in a name', { name: 'a\ud800b' }],
    ['constructor as a field', { name: 'shop', constructor: {} }],
  ])('is refused with the field named: %s', async (_what, body) => {
    const answer = await api.call('POST', '/v1/projects', body);
    expect([answer.status, answer.json?.code]).toEqual([400, 'API_REQUEST_INVALID']);
    expect(answer.json.details.fields.length).toBeGreaterThan(0);
    expect(answer.headers.get('content-type')).toContain('application/problem+json');
    expect(answer.json.requestId).toBe(answer.headers.get('x-request-id'));
  });

  const raw = (body: string | Uint8Array<ArrayBuffer>, type = 'application/json') =>
    api.send('/v1/projects', {
      method: 'POST',
      headers: { authorization: `Bearer ${TEST_TOKEN}`, 'content-type': type, 'x-request-id': 'forged' },
      body,
    });

  test.each<[string, () => Promise<Answer>, number, string]>([
    ['broken JSON', () => raw('{"name":'), 400, 'API_REQUEST_INVALID'],
    ['empty JSON', () => raw(''), 400, 'API_REQUEST_INVALID'],
    ['a __proto__ field', () => raw('{"name":"shop","__proto__":{"admin":true}}'), 400, 'API_REQUEST_INVALID'],
    ['10,000 levels', () => raw('['.repeat(10_000) + ']'.repeat(10_000)), 400, 'API_REQUEST_INVALID'],
    ['bytes that are not UTF-8', () => raw(Buffer.from([0x7b, 0xff, 0xfe, 0x7d])), 400, 'API_REQUEST_INVALID'],
    ['2 MB', () => raw(JSON.stringify({ name: 'x'.repeat(2_000_000) })), 413, 'API_REQUEST_TOO_LARGE'],
    ['a form', () => raw('name=shop', 'application/x-www-form-urlencoded'), 415, 'API_MEDIA_TYPE_UNSUPPORTED'],
    ['plain text', () => raw('{"name":"shop"}', 'text/plain'), 415, 'API_MEDIA_TYPE_UNSUPPORTED'],
  ])('is refused before it is read further: %s', async (_what, send, status, code) => {
    const answer = await send();
    expect([answer.status, answer.json?.code]).toEqual([status, code]);
    expect(answer.json.requestId).toMatch(/^req-/);
  });

  test('names no route that does not exist', async () => {
    const answer = await api.call('GET', '/v1/nothing');
    expect([answer.status, answer.json.code]).toEqual([404, 'API_ROUTE_NOT_FOUND']);
  });

  test.each(['limit=0', 'limit=201', 'limit=x', 'limit[]=1', 'limit=1&limit=2', 'other=1'])(
    'carries no query like ?%s',
    async (parameters) => {
      expect((await api.call('GET', `/v1/projects?${parameters}`)).json.code).toBe('API_REQUEST_INVALID');
    },
  );
});

describe('a source', () => {
  test('is shown without its password, and its test shows each check with the SQL to run', async () => {
    const project = await projectWithSource();
    const { json } = await api.call('GET', `${project}/source`);
    expect(json).toMatchObject({ host: '127.0.0.1', port: 5432, database: 'app', user: 'sluice', state: 'unchecked' });
    expect(Object.keys(json)).not.toContain('password');
    provisioner.checks = [
      {
        check: 'wal_level',
        ok: false,
        code: 'SOURCE_WAL_LEVEL',
        sql: "ALTER SYSTEM SET wal_level = 'logical';",
        message: 'wal_level is replica',
      },
    ];
    const tested = await api.call('POST', `${project}/source/test`);
    provisioner.checks = [{ check: 'wal_level', ok: true, message: 'wal_level is logical' }];
    expect(tested.json).toMatchObject({ ok: false, checks: [{ sql: "ALTER SYSTEM SET wal_level = 'logical';" }] });
    const status = await api.call('GET', `${project}/status`);
    expect(status.json).toMatchObject({ status: 'failing', problems: [{ code: 'SOURCE_PREFLIGHT_FAILED' }] });
    expect(status.json.problems[0].remedy).toContain('wal_level');
  });

  test.each([
    ['mysql://a:b@h/d', 'CONN_STRING_INVALID'],
    ['postgres://a:b@127.0.0.1/d?sslrootcert=/etc/passwd', 'CONN_FIELD_REFUSED'],
    ['postgres://a:b@127.1/d', 'CONN_HOST_FORBIDDEN'],
  ])('is refused with a code: %s', async (connectionString, code) => {
    const answer = await api.call('PUT', `${await newProject()}/source`, { connectionString });
    expect([answer.status, answer.json.code]).toEqual([422, code]);
  });

  test('comes before rules', async () => {
    const answer = await api.call('POST', `${await newProject()}/rules`, { yaml: TASKS_RULES });
    expect([answer.status, answer.json.code]).toEqual([404, 'SOURCE_NOT_SET']);
  });
});

describe('rules', () => {
  test('with problems are kept as a draft with each problem at its place, and cannot be deployed', async () => {
    const project = await projectWithSource();
    const yaml = TASKS_RULES.replace('FROM tasks', 'FROM task');
    const posted = await api.call('POST', `${project}/rules`, { yaml });
    expect(posted.json).toMatchObject({
      state: 'draft',
      streams: [],
      diagnostics: [{ code: 'RULES_TABLE_UNKNOWN', line: 4 }],
    });
    const deployed = await api.call('POST', `${project}/rules/1/deploy`);
    expect([deployed.status, deployed.json.code]).toEqual([409, 'RULES_VERSION_NOT_DEPLOYABLE']);
  });

  test('are not accepted when the source cannot be read, and nothing is stored', async () => {
    const project = await projectWithSource();
    provisioner.failure = new AppError('SOURCE_UNREACHABLE');
    const posted = await api.call('POST', `${project}/rules`, { yaml: TASKS_RULES });
    provisioner.failure = undefined;
    expect([posted.status, posted.json.code]).toEqual([422, 'SOURCE_UNREACHABLE']);
    expect((await api.call('GET', `${project}/rules`)).json).toEqual({ versions: [] });
  });
});

describe('upkeep', () => {
  const jobDone = (project: string, kind: string) =>
    waitFor(
      async () => {
        const { json } = await api.call('GET', `${project}/provisioning`);
        return json.kind === kind && json.state === 'succeeded' ? json : undefined;
      },
      { what: `the ${kind} to be done` },
    );

  test('of a project that serves nothing yet is refused', async () => {
    const project = await projectWithSource();
    for (const [route, body] of [['shards', { shards: 4 }] as const, ['audits'] as const]) {
      const answer = await api.call('POST', `${project}/${route}`, body);
      expect([answer.status, answer.json.code]).toEqual([409, 'PROJECT_NOT_SERVED']);
    }
  });

  test('is a job beside those of deployments: what was found can be read, and the project counts as live meanwhile', async () => {
    const project = await projectWithSource();
    await api.call('POST', `${project}/rules`, { yaml: TASKS_RULES });
    await api.call('POST', `${project}/rules/1/deploy`);
    await jobDone(project, 'deploy');
    const before = (await api.call('GET', project)).json;
    expect((await api.call('POST', `${project}/shards`, { shards: 4 })).status).toBe(202);
    expect(await jobDone(project, 'reshard')).toMatchObject({ shards: 4, report: null, rulesVersion: null });
    expect(provisioner.calls.at(-1)).toBe('reshard 4');
    expect((await api.call('POST', `${project}/audits`)).status).toBe(202);
    expect(await jobDone(project, 'audit')).toMatchObject({ shards: null, report: provisioner.findings });
    expect((await api.call('GET', project)).json).toEqual(before);
  });

  test.each([0, 65, 1.5, '4'])('refuses %s shards', async (shards) => {
    const answer = await api.call('POST', `${await projectWithSource()}/shards`, { shards });
    expect([answer.status, answer.json.code]).toEqual([400, 'API_REQUEST_INVALID']);
  });
});

test('a hosted platform takes public sources over verified TLS alone', async () => {
  await using hosted = await testControlPlane({ hosts: 'hosted' });
  const { json } = await hosted.call('POST', '/v1/projects', { name: 'shop' });
  const put = async (connectionString: string) =>
    (await hosted.call('PUT', `/v1/projects/${json.ref}/source`, { connectionString })).json.code ?? 'accepted';
  expect(await put(CONNECTION)).toBe('CONN_TLS_REQUIRED');
  expect(await put(`postgres://u:${CANARY}@10.0.0.1/d`)).toBe('CONN_HOST_FORBIDDEN');
  expect(await put(`postgres://u:${CANARY}@db.example.com/d`)).toBe('accepted');
  const tested = await hosted.call('POST', `/v1/projects/${json.ref}/source/test`);
  expect([tested.status, tested.json.code]).toEqual([503, 'SOURCE_WORKER_MISSING']);
});

test('closing answers what is under way and takes nothing new', async () => {
  const slow = scriptedProvisioner();
  let isAsked = () => {};
  const asked = new Promise<void>((resolve) => {
    isAsked = resolve;
  });
  let answer = (_checks: []) => {};
  slow.preflight = () => {
    isAsked();
    return new Promise((resolve) => {
      answer = resolve;
    });
  };
  await using closing = await testControlPlane({ provisioner: slow });
  const { json } = await closing.call('POST', '/v1/projects', { name: 'shop' });
  await closing.call('PUT', `/v1/projects/${json.ref}/source`, { connectionString: CONNECTION });
  const underWay = closing.call('POST', `/v1/projects/${json.ref}/source/test`);
  await asked;
  const stopped = closing.stop();
  await waitFor(
    async () =>
      await closing.send('/health/live', {}).then(
        ({ status }) => status === 503,
        () => true,
      ),
    {
      what: 'the port to be closed',
    },
  );
  answer([]);
  expect((await underWay).json).toEqual({ ok: true, checks: [] });
  await stopped;
});

/** A body that the route would take, so that only the project decides the answer. */
function bodyFor(path: string, method: string): unknown {
  if (path.endsWith('/preview')) return { claims: { sub: 'ann' } };
  if (path.endsWith('/explain')) return { claims: { sub: 'ann' }, table: 'tasks', key: ['1'] };
  if (path.endsWith('/check')) return { yaml: TASKS_RULES };
  if (method === 'PUT' && path.endsWith('/source')) return { connectionString: CONNECTION };
  if (method === 'PUT') return { kind: 'shared-secret', secret: CANARY, audience: ['x'] };
  if (path.endsWith('/shards')) return { shards: 2 };
  return method === 'POST' && path.endsWith('/rules') ? { yaml: TASKS_RULES } : undefined;
}
