import { query, type SeededRandom } from '@sluice/testkit';
import { Finding } from '../oracle/finding.ts';
import { differences } from '../oracle/table-state.ts';
import type { Stack } from '../stack/stack.ts';

const TABLES_SQL = `
create table notes (id int primary key, body text not null);
alter table notes replica identity full;
insert into notes select i, 'note ' || i || ' of many' from generate_series(1, 50) i;
`;
const STREAMS = [{ name: 'notes', table: 'notes', query: 'SELECT * FROM notes' }];

/**
 * L9, L17: a byte of a stored row is another one than was written. A client that comes then is told CHECKSUM_MISMATCH and never
 * shows the row.
 */
export async function damagedStore(stack: Stack, random: SeededRandom, ref: string): Promise<void> {
  const tenant = await stack.addTenant({ ref, tablesSql: TABLES_SQL, streams: STREAMS });
  try {
    const text = `note ${random.int(10, 49)} of`;
    const damaged = await query(
      stack.storeUrl,
      `update sluice_store.chunk
       set payload = overlay(payload placing convert_to('mote', 'UTF8') from position(convert_to('${text}', 'UTF8') in payload))
       where project = ${tenant.project} and position(convert_to('${text}', 'UTF8') in payload) > 0 returning 1`,
    );
    if (damaged.length !== 1) throw new Error(`${damaged.length} chunks were damaged, and not one`);
    const client = await tenant.connect('ana');
    const isRefused = await new Promise<boolean>((resolve) => {
      client.sdk.onStatus(({ checkpoint, lastError }) => {
        if (lastError?.code === 'CHECKSUM_MISMATCH') resolve(true);
        else if (checkpoint) resolve(false);
      });
    });
    const [expected] = await tenant.oracle.statesOf([client.claims], tenant.streams);
    const shown = await client.state(tenant.streams);
    if (!isRefused)
      throw new Finding(`ana was shown a damaged row: ${differences(expected ?? new Map(), shown).join('\n')}`);
    if (shown.size > 0) throw new Finding('ana was told of the damage and shown it all the same');
  } finally {
    await stack.removeTenant(tenant);
  }
}
