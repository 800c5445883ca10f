import { parseProjectId } from '@sluice/domain';
import { manualClock } from '@sluice/testkit';
import { exportJWK, generateKeyPair, type JSONWebKeySet, SignJWT } from 'jose';
import { beforeAll, describe, expect, it } from 'vitest';
import type { ClientAuth } from './client-auth.ts';
import { KeySets } from './key-sets.ts';
import { TokenVerifier } from './verify-token.ts';

const project = parseProjectId(1);
const clock = manualClock();
const nowS = Math.floor(clock.nowMs() / 1000);
const secret = new TextEncoder().encode('0123456789abcdef0123456789abcdef');
const hs256: ClientAuth = {
  issuer: 'https://issuer.example',
  audience: 'sluice',
  algorithms: ['HS256'],
  maxTokenAgeSeconds: 3600,
  keys: { kind: 'hs256', secret },
};
const fetched: string[] = [];
const verifier = new TokenVerifier({
  clock,
  toleranceS: 30,
  keySets: new KeySets({
    clock,
    cooldownMs: 30_000,
    refreshMs: 120_000,
    staleMaxMs: 300_000,
    fetchJson: async (url) => {
      fetched.push(url);
      throw new Error('no such host');
    },
  }),
});

const good = { iss: 'https://issuer.example', aud: 'sluice', sub: 'ann', iat: nowS, exp: nowS + 600 };
const base64url = (value: string | Uint8Array) => Buffer.from(value).toString('base64url');
function sign(claims: object, header: Record<string, unknown> = { alg: 'HS256' }, key: Uint8Array = secret) {
  return new SignJWT({ ...claims }).setProtectedHeader({ alg: 'HS256', ...header }).sign(key);
}
/** Signs a payload that no library would write. */
async function signText(payload: string, header = '{"alg":"HS256"}'): Promise<string> {
  const input = `${base64url(header)}.${base64url(payload)}`;
  const key = await crypto.subtle.importKey('raw', secret, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
  const signature = await crypto.subtle.sign('HMAC', key, new TextEncoder().encode(input));
  return `${input}.${base64url(new Uint8Array(signature))}`;
}
async function codeOf(token: string, auth: ClientAuth = hs256): Promise<string> {
  return verifier.verify(project, auth, token).then(
    () => 'ok',
    (error: { code: string }) => error.code,
  );
}

describe('HS256', () => {
  it('a good token gives its subject, its claims and its end', async () => {
    const verified = await verifier.verify(project, hs256, await sign({ ...good, role: 'admin' }));
    expect(verified).toMatchObject({ subject: 'ann', expiresAtMs: (good.exp + 30) * 1000 });
    expect(verified.tokenClaims).toMatchObject({ role: 'admin' });
  });

  const claims: [name: string, claims: object, code: string][] = [
    ['expired', { ...good, iat: nowS - 700, exp: nowS - 31 }, 'AUTH_EXPIRED'],
    ['expired within the tolerance', { ...good, iat: nowS - 700, exp: nowS - 29 }, 'ok'],
    ['without exp', { ...good, exp: undefined }, 'AUTH_CLAIMS'],
    ['without iat', { ...good, iat: undefined }, 'AUTH_CLAIMS'],
    ['without sub', { ...good, sub: undefined }, 'AUTH_CLAIMS'],
    ['with a numeric sub', { ...good, sub: 1 }, 'AUTH_CLAIMS'],
    ['with a boolean sub', { ...good, sub: true }, 'AUTH_CLAIMS'],
    ['with an empty sub', { ...good, sub: '' }, 'AUTH_CLAIMS'],
    ['with a long sub', { ...good, sub: 'x'.repeat(257) }, 'AUTH_CLAIMS'],
    ['with NUL in sub', { ...good, sub: 'a\0b' }, 'AUTH_CLAIMS'],
    ['with a lone surrogate in sub', { ...good, sub: 'a\ud800' }, 'AUTH_CLAIMS'],
    ['with exp 1e300', { ...good, exp: 1e300 }, 'AUTH_CLAIMS'],
    ['with a fractional exp', { ...good, exp: nowS + 10.5 }, 'AUTH_CLAIMS'],
    ['with exp as text', { ...good, exp: String(nowS + 10) }, 'AUTH_CLAIMS'],
    ['with a negative iat', { ...good, iat: -5 }, 'AUTH_CLAIMS'],
    ['with exp before iat', { ...good, iat: nowS + 20, exp: nowS + 10 }, 'AUTH_CLAIMS'],
    ['that lives too long', { ...good, exp: nowS + 3601 }, 'AUTH_LIFETIME'],
    ['issued in the future', { ...good, iat: nowS + 100, exp: nowS + 200 }, 'AUTH_NOT_YET_VALID'],
    ['with nbf in the future', { ...good, nbf: nowS + 100 }, 'AUTH_NOT_YET_VALID'],
    ['with nbf as text', { ...good, nbf: 'soon' }, 'AUTH_CLAIMS'],
    ['of another issuer', { ...good, iss: 'https://other.example' }, 'AUTH_ISSUER'],
    ['without issuer', { ...good, iss: undefined }, 'AUTH_ISSUER'],
    ['for another audience', { ...good, aud: 'other' }, 'AUTH_AUDIENCE'],
    ['without audience', { ...good, aud: undefined }, 'AUTH_AUDIENCE'],
    ['for several audiences, ours among them', { ...good, aud: ['other', 'sluice'] }, 'ok'],
  ];
  it.each(claims)('a token %s', async (_name, given, code) => {
    expect(await codeOf(await sign(given))).toBe(code);
  });

  const headers: [name: string, header: Record<string, unknown>, code: string][] = [
    ['alg none', { alg: 'none' }, 'AUTH_ALGORITHM'],
    ['alg NONE', { alg: 'NONE' }, 'AUTH_ALGORITHM'],
    ['alg RS256', { alg: 'RS256' }, 'AUTH_ALGORITHM'],
    ['alg as a number', { alg: 1 }, 'AUTH_TOKEN_MALFORMED'],
    ['no alg', { alg: undefined }, 'AUTH_TOKEN_MALFORMED'],
    ['an unknown crit', { crit: ['x'], x: 1 }, 'AUTH_TOKEN_MALFORMED'],
    ['kid as a number', { kid: 1 }, 'AUTH_TOKEN_MALFORMED'],
    ['kid with a path', { kid: '../../../etc/passwd' }, 'ok'],
    [
      'a key inside',
      { jwk: { kty: 'oct', k: 'AAAA' }, jku: 'https://evil.example', x5u: 'https://evil.example' },
      'ok',
    ],
  ];
  it.each(headers)('a header with %s', async (_name, header, code) => {
    const token = await signText(JSON.stringify(good), JSON.stringify({ alg: 'HS256', ...header }));
    expect(await codeOf(token)).toBe(code);
    expect(fetched).toEqual([]);
  });

  it('repeated keys are refused wherever they stand, escaped or not', async () => {
    const body = JSON.stringify(good).slice(1);
    for (const payload of [
      `{"sub":"bob",${body}`,
      `{"s\\u0075b":"bob",${body}`,
      `{"x":[{"a":1,"a":2}],${body}`,
      `{"x":{"y":{"a":1, "b":"}","a" :2}},${body}`,
    ])
      expect(await codeOf(await signText(payload))).toBe('AUTH_TOKEN_MALFORMED');
    expect(await codeOf(await signText(`{"x":{"sub":1,"y":["sub","sub:"]},"z":{"sub":2},${body}`))).toBe('ok');
    const token = await signText(JSON.stringify(good), '{"alg":"none","alg":"HS256"}');
    expect(await codeOf(token)).toBe('AUTH_TOKEN_MALFORMED');
  });

  it('each part has one form only: a changed spare bit, padding or another alphabet is refused', async () => {
    const token = await sign(good);
    const [head = '', payload = '', signature = ''] = token.split('.');
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    const last = alphabet.indexOf(signature.at(-1) ?? '');
    const twin = signature.slice(0, -1) + alphabet[last ^ 1];
    expect(Buffer.from(twin, 'base64url')).toEqual(Buffer.from(signature, 'base64url'));
    for (const changed of [`${head}.${payload}.${twin}`, `${token}=`, `${token} `, ` ${token}`, `${token}\n`])
      expect(await codeOf(changed)).toBe('AUTH_TOKEN_MALFORMED');
  });

  it('what is no token at all', async () => {
    const token = await sign(good);
    const [head = '', , signature = ''] = token.split('.');
    const hostile = [
      '',
      '.',
      '..',
      'a.b',
      `${token}.x`,
      `${head}..${signature}`,
      `${base64url('[]')}.${base64url('{}')}.x`,
      `${head}.${base64url('[1]')}.${signature}`,
      `${head}.${base64url('null')}.${signature}`,
      `${head}.${base64url('not json')}.${signature}`,
      `${head}.${base64url(new Uint8Array([0xff, 0xfe]))}.${signature}`,
      `${head}.${base64url(`\ufeff${JSON.stringify(good)}`)}.${signature}`,
      `${base64url(`{"alg":"HS256","x":${'['.repeat(2000)}`)}.e30.x`,
      'a.b.c.d.e',
    ];
    for (const text of hostile) expect(await codeOf(text)).toBe('AUTH_TOKEN_MALFORMED');
    expect(await codeOf('x'.repeat(8193))).toBe('AUTH_TOKEN_TOO_LARGE');
    expect(await codeOf('x'.repeat(1024 * 1024))).toBe('AUTH_TOKEN_TOO_LARGE');
  });

  it('a changed payload or another project’s secret: AUTH_SIGNATURE', async () => {
    const [head, , signature] = (await sign(good)).split('.');
    expect(await codeOf(`${head}.${base64url(JSON.stringify({ ...good, sub: 'bob' }))}.${signature}`)).toBe(
      'AUTH_SIGNATURE',
    );
    expect(await codeOf(await sign(good, {}, new Uint8Array(32)))).toBe('AUTH_SIGNATURE');
  });

  it('a short secret, or one used with other algorithms, verifies nothing', async () => {
    const short = new TextEncoder().encode('short');
    const token = await sign(good, {}, secret);
    expect(await codeOf(token, { ...hs256, keys: { kind: 'hs256', secret: short } })).toBe('AUTH_SETTINGS');
    expect(await codeOf(token, { ...hs256, algorithms: ['RS256', 'HS512'] })).toBe('AUTH_SETTINGS');
    expect(await codeOf(token, { ...hs256, algorithms: [] })).toBe('AUTH_SETTINGS');
  });

  it('no error holds anything of the token', async () => {
    const token = await sign({ ...good, iss: 'canary', exp: nowS + 5 });
    const error = await verifier.verify(project, hs256, token).catch((thrown: Error) => thrown);
    expect(error).toBeInstanceOf(Error);
    if (!(error instanceof Error)) return;
    for (const text of [error.message, error.stack ?? '', JSON.stringify(error), String(error.cause)])
      expect(text).not.toContain('canary');
  });
});

describe('key sets', () => {
  let rsa: Awaited<ReturnType<typeof generateKeyPair>>;
  let ec: Awaited<ReturnType<typeof generateKeyPair>>;
  let jwks: JSONWebKeySet;
  let auth: ClientAuth;

  beforeAll(async () => {
    rsa = await generateKeyPair('RS256', { extractable: true });
    ec = await generateKeyPair('ES256', { extractable: true });
    jwks = {
      keys: [
        { ...(await exportJWK(rsa.publicKey)), kid: 'rsa' },
        { ...(await exportJWK(ec.publicKey)), kid: 'ec' },
        { kty: 'oct', k: base64url(secret), kid: 'oct' },
      ],
    };
    auth = { ...hs256, algorithms: ['RS256', 'ES256', 'HS256'], keys: { kind: 'inline-jwks', jwks } };
  });
  const signed = (key: Parameters<SignJWT['sign']>[0], header: { alg: string; kid?: string }) =>
    new SignJWT({ ...good }).setProtectedHeader(header).sign(key);

  it('RS256 and ES256 verify by kid', async () => {
    expect(await codeOf(await signed(rsa.privateKey, { alg: 'RS256', kid: 'rsa' }), auth)).toBe('ok');
    expect(await codeOf(await signed(ec.privateKey, { alg: 'ES256', kid: 'ec' }), auth)).toBe('ok');
  });
  it('without kid, with another kid, or with another key’s kid: refused', async () => {
    expect(await codeOf(await signed(rsa.privateKey, { alg: 'RS256' }), auth)).toBe('AUTH_KEY_UNKNOWN');
    expect(await codeOf(await signed(rsa.privateKey, { alg: 'RS256', kid: 'x' }), auth)).toBe('AUTH_KEY_UNKNOWN');
    expect(await codeOf(await signed(rsa.privateKey, { alg: 'RS256', kid: 'ec' }), auth)).toBe('AUTH_KEY_UNKNOWN');
  });
  it('a public key is never a secret: HS256 is not usable with a key set, whatever the settings say', async () => {
    const pem = new TextEncoder().encode(JSON.stringify(jwks.keys[0]));
    expect(await codeOf(await signed(pem, { alg: 'HS256', kid: 'rsa' }), auth)).toBe('AUTH_ALGORITHM');
    expect(await codeOf(await signed(secret, { alg: 'HS256', kid: 'oct' }), auth)).toBe('AUTH_ALGORITHM');
    expect(await codeOf(await signed(secret, { alg: 'HS256', kid: 'oct' }), { ...auth, algorithms: ['HS256'] })).toBe(
      'AUTH_SETTINGS',
    );
  });
  it('an algorithm that the project does not list is refused although a key fits', async () => {
    const token = await signed(ec.privateKey, { alg: 'ES256', kid: 'ec' });
    expect(await codeOf(token, { ...auth, algorithms: ['RS256'] })).toBe('AUTH_ALGORITHM');
  });
  it('an RSA key below 2048 bits verifies nothing', async () => {
    const small = await generateSmallRsaKey();
    const weak: ClientAuth = {
      ...auth,
      keys: { kind: 'inline-jwks', jwks: { keys: [{ ...small.jwk, kid: 'weak' }] } },
    };
    const input = `${base64url('{"alg":"RS256","kid":"weak"}')}.${base64url(JSON.stringify(good))}`;
    const signature = await crypto.subtle.sign('RSASSA-PKCS1-v1_5', small.privateKey, new TextEncoder().encode(input));
    expect(await codeOf(`${input}.${base64url(new Uint8Array(signature))}`, weak)).toBe('AUTH_SETTINGS');
  });
  it('a key set that cannot be fetched: AUTH_KEYS_UNAVAILABLE', async () => {
    const remote: ClientAuth = { ...auth, keys: { kind: 'jwks', url: 'https://keys.example/jwks' } };
    expect(await codeOf(await signed(rsa.privateKey, { alg: 'RS256', kid: 'rsa' }), remote)).toBe(
      'AUTH_KEYS_UNAVAILABLE',
    );
    expect(fetched).toEqual(['https://keys.example/jwks']);
  });
});

async function generateSmallRsaKey() {
  const algorithm = {
    name: 'RSASSA-PKCS1-v1_5',
    modulusLength: 1024,
    publicExponent: new Uint8Array([1, 0, 1]),
    hash: 'SHA-256',
  };
  const pair = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  if (!('privateKey' in pair)) throw new Error('a key pair');
  return { privateKey: pair.privateKey, jwk: await exportJWK(pair.publicKey) };
}
