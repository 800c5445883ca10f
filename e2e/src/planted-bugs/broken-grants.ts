import type { SeededRandom } from '@sluice/testkit';
import { Finding } from '../oracle/finding.ts';
import { PrefixCheck } from '../oracle/prefix-check.ts';
import type { Stack } from '../stack/stack.ts';

const TABLES_SQL = `
create table members (id int primary key, user_name text not null, team_id int not null);
create table tasks (id int primary key, team_id int not null, title text not null);
alter table members replica identity full;
alter table tasks replica identity full;
insert into members values (1, 'ana', 1);
insert into tasks select i, 1, 'task ' || i from generate_series(1, 20) i;
`;
const STREAMS = [
  {
    name: 'tasks',
    table: 'tasks',
    query: 'SELECT * FROM tasks WHERE team_id IN (SELECT team_id FROM members WHERE user_name = auth.user_id())',
  },
];
const ROUNDS = 4;

/**
 * L13: while a client is away its user leaves a team and comes back. Of what happened in between it is sent how the team's rows
 * stand, and no version of a row that it was not entitled to.
 */
export async function brokenGrants(stack: Stack, random: SeededRandom, ref: string): Promise<void> {
  const tenant = await stack.addTenant({ ref, tablesSql: TABLES_SQL, streams: STREAMS });
  try {
    const check = await PrefixCheck.begin(tenant, [{ sub: 'ana' }]);
    const ana = await tenant.connect('ana', { tapped: true });
    check.watch(ana);
    await tenant.expectEqual(ana);
    for (let round = 0; round < ROUNDS; round++) {
      const task = random.int(1, 20);
      ana.sdk.disconnect();
      await check.commit('delete from members');
      await check.commit(`update tasks set title = 'secret ${round}' where id = ${task}`);
      await check.commit(`update tasks set title = 'open ${round}' where id = ${task}`);
      await check.commit(`insert into members values (${round}, 'ana', 1)`);
      ana.sdk.connect();
      await tenant.expectEqual(ana);
    }
    const problems = [...check.problems(), ...check.leaks(ana)];
    if (problems.length > 0) throw new Finding(problems.join('\n'));
  } finally {
    await stack.removeTenant(tenant);
  }
}
