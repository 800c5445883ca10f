import { SignJWT, UnsecuredJWT } from 'jose';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Stack, startStack } from '../stack/stack.ts';
import { connectClient } from '../stack/sync-client.ts';
import { AUDIENCE, ISSUER, type Tenant } from '../stack/tenant.ts';

let stack: Stack;
let tenant: Tenant;

beforeAll(async () => {
  stack = await startStack();
  tenant = await stack.addTenant({
    ref: 'tokens',
    tablesSql:
      "create table notes (id int primary key, body text); alter table notes replica identity full; insert into notes values (1, 'CANARY');",
    streams: [{ name: 'notes', table: 'notes', query: 'SELECT * FROM notes' }],
  });
});
afterAll(() => stack?.[Symbol.asyncDispose]());

function jwt(claims: Record<string, unknown> = {}, alg = 'HS256'): SignJWT {
  return new SignJWT({ sub: 'ana', ...claims })
    .setProtectedHeader({ alg })
    .setIssuer(ISSUER)
    .setAudience(AUDIENCE)
    .setIssuedAt();
}
const signed = (token: SignJWT, secret: Uint8Array = tenant.tokenSecret): Promise<string> => token.sign(secret);
const nowS = (): number => Math.floor(Date.now() / 1000);

const refused: readonly (readonly [what: string, token: () => Promise<string>, code: string])[] = [
  [
    'expired',
    () =>
      signed(
        jwt()
          .setIssuedAt(nowS() - 7200)
          .setExpirationTime(nowS() - 3600),
      ),
    'AUTH_EXPIRED',
  ],
  ['of another issuer', () => signed(jwt().setIssuer('elsewhere').setExpirationTime('1h')), 'AUTH_ISSUER'],
  ['for another audience', () => signed(jwt().setAudience('elsewhere').setExpirationTime('1h')), 'AUTH_AUDIENCE'],
  ['signed with another key', () => signed(jwt().setExpirationTime('1h'), new Uint8Array(32)), 'AUTH_SIGNATURE'],
  [
    'with another algorithm',
    () => signed(jwt({}, 'HS512').setExpirationTime('1h'), new Uint8Array(64)),
    'AUTH_ALGORITHM',
  ],
  ['unsigned', async () => new UnsecuredJWT({ sub: 'ana' }).setExpirationTime('1h').encode(), 'AUTH_ALGORITHM'],
  ['that is no token', async () => 'no token at all', 'AUTH_TOKEN_MALFORMED'],
  ['a megabyte long', () => signed(jwt({ pad: 'x'.repeat(1 << 20) }).setExpirationTime('1h')), 'CLIENT_AUTH_FAILED'],
];

it.each(refused)('L13: a token %s gives its code and no row', async (_, token, code) => {
  await using client = await connectClient({
    gatewayPort: stack.gatewayPort,
    projectRef: tenant.ref,
    claims: { sub: 'ana' },
    token,
    isTapped: true,
  });
  const told = await new Promise<string>((resolve) => {
    client.sdk.onStatus(({ lastError }) => lastError && resolve(lastError.code));
  });
  expect(told).toBe(code);
  expect(client.tap.holds('CANARY')).toBe(false);
});

it('a good token beside them gets its rows', async () => {
  await using client = await tenant.connect('ana', { tapped: true });
  await tenant.expectEqual(client);
  expect(client.tap.holds('CANARY')).toBe(true);
});
