import { query, waitFor } from '@sluice/testkit';
import { CodedTroubles } from '../oracle/coded-troubles.ts';
import type { Claims } from '../stack/source-database.ts';
import type { Stack } from '../stack/stack.ts';
import type { Tenant } from '../stack/tenant.ts';

/** L5: who comes after everything so far was compacted is shown what SQL gives. */
export async function expectLateClientsEqual(stack: Stack, tenant: Tenant, users: readonly Claims[]): Promise<void> {
  await everythingCompacted(stack, tenant);
  for (const user of users) {
    const client = await tenant.connect(user);
    const troubles = new CodedTroubles();
    troubles.watch(client);
    await troubles.during(() => tenant.expectEqual(client));
    // Else it would have later checkpoints encoded before they are compacted, and late clients share what is encoded.
    client.sdk.disconnect();
  }
}

async function everythingCompacted({ dataPlane, storeUrl }: Stack, { project }: Tenant): Promise<void> {
  const checkpoint = await dataPlane.store.readCheckpoint(project);
  const floor = async (column: 'read_lsn' | 'passed_lsn'): Promise<bigint> => {
    const [row] = await query<{ lsn: string | null }>(
      storeUrl,
      `select max(${column}) as lsn from sluice_store.floor where project = ${project}`,
    );
    return BigInt(row?.lsn ?? 0);
  };
  const options = { what: 'everything to be compacted', timeoutMs: 60_000 };
  await waitFor(async () => (await floor('read_lsn')) >= (checkpoint?.lsn ?? 0n), options);
  // A pass that ends now may have begun before; the one after it has not.
  for (let pass = 0; pass < 2; pass++) {
    const newest = (await dataPlane.store.readCheckpoint(project))?.lsn ?? 0n;
    await waitFor(async () => (await floor('passed_lsn')) >= newest, options);
  }
}
