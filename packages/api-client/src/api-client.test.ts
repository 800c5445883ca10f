import { execFile } from 'node:child_process';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ApiError, ApiUnreachableError, createApiClient } from './index.ts';

const generator = fileURLToPath(new URL('../scripts/generate.mjs', import.meta.url));

test('the generated operations are what openapi.json says', async () => {
  await promisify(execFile)(process.execPath, [generator, '--check']);
});

describe('the client', () => {
  let server: Server;
  let baseUrl: string;
  const seen: {
    method: string | undefined;
    url: string | undefined;
    authorization: string | undefined;
    body: string;
  }[] = [];
  let answer = { status: 200, type: 'application/json', text: '{}' };

  beforeAll(async () => {
    server = createServer((request, response) => void respond(request, response));
    const respond = async (request: IncomingMessage, response: ServerResponse) => {
      const body = Buffer.concat(await request.toArray()).toString();
      seen.push({ method: request.method, url: request.url, authorization: request.headers.authorization, body });
      response.writeHead(answer.status, { 'content-type': answer.type }).end(answer.text);
    };
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => void server.close());

  test('puts path, query, body and token where the document says', async () => {
    const api = createApiClient({ baseUrl, token: 'token' });
    await api.listProjects({ after: 'a b&c', limit: 5 });
    await api.putSource({ ref: 'p/../x', body: { connectionString: 'postgres://' } });
    expect(seen).toEqual([
      { method: 'GET', url: '/v1/projects?after=a+b%26c&limit=5', authorization: 'Bearer token', body: '' },
      {
        method: 'PUT',
        url: '/v1/projects/p%2F..%2Fx/source',
        authorization: 'Bearer token',
        body: '{"connectionString":"postgres://"}',
      },
    ]);
  });

  test('throws what the API said', async () => {
    const problem = { code: 'PROJECT_NOT_FOUND', message: 'no', remedy: 'look', details: {}, requestId: 'req-1' };
    answer = { status: 404, type: 'application/problem+json', text: JSON.stringify(problem) };
    const failure = await createApiClient({ baseUrl, token: 't' })
      .getProject({ ref: 'p' })
      .catch((error) => error);
    expect(failure).toBeInstanceOf(ApiError);
    expect(failure).toMatchObject({ status: 404, ...problem });
  });

  test.each([
    ['a page of a proxy', { status: 502, type: 'text/html', text: '<h1>Bad gateway</h1>' }],
    ['a redirect', { status: 302, type: 'application/json', text: '{}' }],
    ['JSON of somebody else', { status: 500, type: 'application/json', text: '{"error":true}' }],
  ])('takes %s for an API that is out of reach', async (_what, given) => {
    answer = given;
    const call = createApiClient({ baseUrl, token: 't' }).getProject({ ref: 'p' });
    await expect(call).rejects.toBeInstanceOf(ApiUnreachableError);
  });
});
