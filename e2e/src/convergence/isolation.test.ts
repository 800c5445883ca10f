import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { StreamSpec } from '../stack/rules.ts';
import { type Stack, startStack } from '../stack/stack.ts';
import { connectClient } from '../stack/sync-client.ts';
import type { Tenant } from '../stack/tenant.ts';

const TABLES_SQL = `
create table letters (id int primary key, room text not null, recipient text not null, body text not null);
create table guests (id int primary key, room text not null, person text not null);
alter table letters replica identity full;
alter table guests replica identity full;
`;
const STREAMS: readonly StreamSpec[] = [
  {
    name: 'letters',
    table: 'letters',
    query:
      'SELECT * FROM letters WHERE recipient = auth.user_id() OR room IN (SELECT room FROM guests WHERE person = auth.user_id())',
  },
];

let stack: Stack;
let home: Tenant;
let neighbour: Tenant;

/** Long enough that no other bytes hold it by chance, and hard to compress away. */
function canary(name: string): string {
  return `CANARY-${name}-f3b1c2d4-7a96-4b1e`;
}

beforeAll(async () => {
  stack = await startStack();
  const fill = (tenant: string): string => `
    insert into letters
      select i, 'room' || i % 3, (array['ana', 'ben'])[1 + i % 2], '${canary(`${tenant}-`)}' || (array['ana', 'ben'])[1 + i % 2] || i
      from generate_series(1, 60) i;`;
  home = await stack.addTenant({ ref: 'home', tablesSql: TABLES_SQL + fill('home'), streams: STREAMS });
  neighbour = await stack.addTenant({ ref: 'neighbour', tablesSql: TABLES_SQL + fill('neighbour'), streams: STREAMS });
});
afterAll(() => stack?.[Symbol.asyncDispose]());

describe('L13: what the claims do not give is not on the wire', () => {
  it("sees a user's own rows and none of another user or of another tenant with the same tables", async () => {
    const ana = await home.connect('ana', { tapped: true });
    const neighbourAna = await neighbour.connect('ana', { tapped: true });
    await home.source.commit(`insert into letters values (100, 'room9', 'ben', '${canary('live-ben')}')`);
    await home.source.commit(`insert into letters values (101, 'room9', 'ana', '${canary('live-ana')}')`);
    await neighbour.source.commit(`insert into letters values (101, 'room9', 'ana', '${canary('live-neighbour')}')`);
    await home.expectEqual(ana);
    await neighbour.expectEqual(neighbourAna);

    // The tap finds what is there, so that it finds nothing elsewhere means something.
    expect(ana.tap.holds(`${canary('home-')}ana2`)).toBe(true);
    expect(ana.tap.holds(canary('live-ana'))).toBe(true);
    expect(ana.tap.holds(`${canary('home-')}ben`)).toBe(false);
    expect(ana.tap.holds(canary('live-ben'))).toBe(false);
    expect(ana.tap.holds(canary('neighbour-'))).toBe(false);
    expect(ana.tap.holds(canary('live-neighbour'))).toBe(false);
    expect(neighbourAna.tap.holds(canary('live-neighbour'))).toBe(true);
    expect(neighbourAna.tap.holds(canary('home-'))).toBe(false);
    expect(neighbourAna.tap.holds(canary('live-ana'))).toBe(false);
  });

  it('gives a new member the rows as they are, never the values and rows that they were before', async () => {
    await home.source.commit(`insert into letters values (200, 'suite', 'ben', '${canary('superseded')}')`);
    await home.source.commit(`insert into letters values (201, 'suite', 'ben', '${canary('deleted')}')`);
    await home.source.commit(`insert into letters values (202, 'suite', 'ben', '${canary('moved-away')}')`);
    await home.source.commit(`update letters set body = '${canary('present')}' where id = 200`);
    await home.source.commit('delete from letters where id = 201');
    await home.source.commit("update letters set room = 'attic' where id = 202");
    const member = await home.connect('carl', { tapped: true });
    await home.caughtUp(member);
    await home.source.commit("insert into guests values (1, 'suite', 'carl')");
    await home.expectEqual(member);
    const late = await home.connect('carl', { tapped: true });
    await home.expectEqual(late);
    for (const { tap } of [member, late]) {
      expect(tap.holds(canary('present'))).toBe(true);
      expect(tap.holds(canary('superseded'))).toBe(false);
      expect(tap.holds(canary('deleted'))).toBe(false);
      expect(tap.holds(canary('moved-away'))).toBe(false);
    }
  });

  it('sends nothing of a bucket from the revocation on, and not what happened meanwhile when the grant comes back', async () => {
    await home.source.commit("insert into guests values (2, 'cellar', 'dora')");
    const dora = await home.connect('dora', { tapped: true });
    await home.source.commit(`insert into letters values (300, 'cellar', 'ben', '${canary('while-in')}')`);
    await home.expectEqual(dora);
    expect(dora.tap.holds(canary('while-in'))).toBe(true);
    await home.source.commit('delete from guests where id = 2');
    await home.source.commit(`update letters set body = '${canary('while-out')}' where id = 300`);
    await home.expectEqual(dora);
    expect(dora.tap.holds(canary('while-out'))).toBe(false);
    await home.source.commit(
      `update letters set body = '${canary('afterwards')}' where id = 300`,
      "insert into guests values (2, 'cellar', 'dora')",
    );
    await home.expectEqual(dora);
    expect(dora.tap.holds(canary('afterwards'))).toBe(true);
    expect(dora.tap.holds(canary('while-out'))).toBe(false);
  });

  it('the same while the device was away: a broken grant is loaded anew when it resumes', async () => {
    await home.source.commit("insert into guests values (3, 'loft', 'emil')");
    await home.source.commit(`insert into letters values (400, 'loft', 'ben', '${canary('emil-first')}')`);
    const emil = await home.connect('emil', { tapped: true });
    await home.expectEqual(emil);
    emil.sdk.disconnect();
    await home.source.commit('delete from guests where id = 3');
    await home.source.commit(`update letters set body = '${canary('emil-away')}' where id = 400`);
    await home.source.commit(
      `update letters set body = '${canary('emil-back')}' where id = 400`,
      "insert into guests values (3, 'loft', 'emil')",
    );
    emil.sdk.connect();
    await home.expectEqual(emil);
    expect(emil.tap.holds(canary('emil-back'))).toBe(true);
    expect(emil.tap.holds(canary('emil-away'))).toBe(false);
  });

  it("refuses a token of another tenant, whose client is told why and gets none of the tenant's bytes", async () => {
    await using intruder = await connectClient({
      gatewayPort: stack.gatewayPort,
      projectRef: 'home',
      claims: { sub: 'ana' },
      token: () => neighbour.token({ sub: 'ana' }),
      isTapped: true,
    });
    const refused = await new Promise<string>((resolve) => {
      intruder.sdk.onStatus(({ lastError }) => lastError && resolve(lastError.code));
    });
    expect(refused).toBe('AUTH_SIGNATURE');
    expect(intruder.tap.holds('CANARY')).toBe(false);
    expect(intruder.tap.messages().map(({ type }) => type)).toEqual(['error']);
  });
});
