import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type TestControlPlane, testControlPlane } from '../testing/test-control-plane.ts';

const CANARY = 'canary-3f9c1e7a5b2d4860-canary-3f9c1e';

let api: TestControlPlane;
beforeAll(async () => {
  api = await testControlPlane();
});
afterAll(async () => await api[Symbol.asyncDispose]());

async function newProject(): Promise<string> {
  const { json } = await api.call('POST', '/v1/projects', { name: 'shop' });
  return `/v1/projects/${json.ref}`;
}

describe('client authentication', () => {
  const jwk = {
    kty: 'EC',
    crv: 'P-256',
    x: 'f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU',
    y: 'x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0',
  };
  const rules = { audience: ['sluice:test'] };

  test('is given to the gateway, with its secret, by the directory alone', async () => {
    const project = await newProject();
    const ref = project.slice('/v1/projects/'.length);
    expect(await api.directory.clientAuthOf(ref)).toBeUndefined();
    await api.call('PUT', `${project}/client-auth`, { kind: 'shared-secret', secret: CANARY, ...rules });
    const shown = await api.call('GET', `${project}/client-auth`);
    expect(shown.json).toMatchObject({
      kind: 'shared-secret',
      algorithms: ['HS256'],
      maxTokenAgeS: 3600,
      url: null,
      jwks: null,
    });
    const auth = await api.directory.clientAuthOf(ref);
    if (auth?.keys.kind !== 'shared-secret') throw new Error('a shared secret');
    expect(auth.keys.secret.reveal()).toBe(CANARY);
    expect(JSON.stringify(auth)).not.toContain(CANARY);
    await api.call('PUT', `${project}/client-auth`, {
      kind: 'jwks',
      jwks: { keys: [jwk] },
      algorithms: ['ES256'],
      ...rules,
    });
    expect((await api.directory.clientAuthOf(ref))?.keys).toEqual({ kind: 'jwks', jwks: { keys: [jwk] } });
    await api.call('PUT', `${project}/client-auth`, {
      kind: 'jwks-url',
      url: 'http://127.0.0.1:9/jwks',
      algorithms: ['ES256'],
      ...rules,
    });
    expect((await api.directory.clientAuthOf(ref))?.keys).toEqual({ kind: 'jwks-url', url: 'http://127.0.0.1:9/jwks' });
  });

  test.each<[string, object, string]>([
    ['a short secret', { kind: 'shared-secret', secret: 'x'.repeat(31) }, 'CLIENT_AUTH_INVALID'],
    [
      'an asymmetric algorithm for a secret',
      { kind: 'shared-secret', secret: CANARY, algorithms: ['RS256'] },
      'API_REQUEST_INVALID',
    ],
    ['HS256 for public keys', { kind: 'jwks', jwks: { keys: [jwk] }, algorithms: ['HS256'] }, 'API_REQUEST_INVALID'],
    ['no signature at all', { kind: 'jwks', jwks: { keys: [jwk] }, algorithms: ['none'] }, 'API_REQUEST_INVALID'],
    [
      'a private key',
      { kind: 'jwks', jwks: { keys: [{ ...jwk, d: 'x' }] }, algorithms: ['ES256'] },
      'CLIENT_AUTH_INVALID',
    ],
    [
      'a symmetric key',
      { kind: 'jwks', jwks: { keys: [{ kty: 'oct', k: 'x' }] }, algorithms: ['ES256'] },
      'CLIENT_AUTH_INVALID',
    ],
    [
      'a short RSA key',
      { kind: 'jwks', jwks: { keys: [{ kty: 'RSA', e: 'AQAB', n: 'x'.repeat(171) }] }, algorithms: ['RS256'] },
      'CLIENT_AUTH_INVALID',
    ],
    ['no key', { kind: 'jwks', jwks: { keys: [] }, algorithms: ['ES256'] }, 'CLIENT_AUTH_INVALID'],
    ['a file', { kind: 'jwks-url', url: 'file:///etc/passwd', algorithms: ['ES256'] }, 'CLIENT_AUTH_INVALID'],
    [
      'credentials in the URL',
      { kind: 'jwks-url', url: 'https://a:b@auth.example.com/', algorithms: ['ES256'] },
      'CLIENT_AUTH_INVALID',
    ],
    [
      'a host in disguise',
      { kind: 'jwks-url', url: 'https://2130706433/', algorithms: ['ES256'] },
      'CONN_HOST_FORBIDDEN',
    ],
    [
      'a secret beside a URL',
      { kind: 'jwks-url', url: 'https://auth.example.com/', algorithms: ['ES256'], secret: CANARY },
      'API_REQUEST_INVALID',
    ],
    ['an endless token', { kind: 'shared-secret', secret: CANARY, maxTokenAgeS: 86_401 }, 'API_REQUEST_INVALID'],
  ])('is refused with a code: %s', async (_what, body, code) => {
    const answer = await api.call('PUT', `${await newProject()}/client-auth`, { ...rules, ...body });
    expect(answer.json.code).toBe(code);
  });
});
