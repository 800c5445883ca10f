import type { SeededRandom } from '@sluice/testkit';
import type { Stack } from '../stack/stack.ts';
import { expectLateClientsEqual } from './late-clients.ts';

const TABLES_SQL = `
create table notes (id int primary key, body text not null);
alter table notes replica identity full;
insert into notes select i, 'first ' || i from generate_series(1, 20) i;
`;
const STREAMS = [{ name: 'notes', table: 'notes', query: 'SELECT * FROM notes' }];
const ROUNDS = 3;

/**
 * L5: a table is emptied by TRUNCATE and filled with about as many rows, which compaction then finds beside those that are void,
 * in one bucket and of like size.
 */
export async function truncateAndCompact(stack: Stack, random: SeededRandom, ref: string): Promise<void> {
  const tenant = await stack.addTenant({ ref, tablesSql: TABLES_SQL, streams: STREAMS });
  try {
    for (let round = 1; round <= ROUNDS; round++) {
      await expectLateClientsEqual(stack, tenant, [{ sub: 'ana' }]);
      await tenant.source.commit(
        ...(random.chance(0.8) ? ['truncate notes'] : []),
        `insert into notes select ${round * 100} + i, 'round ${round}' from generate_series(1, ${random.int(15, 30)}) i`,
      );
    }
    await expectLateClientsEqual(stack, tenant, [{ sub: 'ana' }]);
  } finally {
    await stack.removeTenant(tenant);
  }
}
