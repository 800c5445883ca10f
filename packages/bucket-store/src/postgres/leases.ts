import type { LeaseToken, ProjectId } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import type { PoolClient } from 'pg';
import type { SourceCondition } from '../port.ts';
import type { Database } from './database.ts';

export function acquireLease(
  database: Database,
  project: ProjectId,
  holder: string,
  ttlMs: number,
): Promise<LeaseToken | undefined> {
  return database.transaction(project, async (client) => {
    await client.query('insert into sluice_store.project (project) values ($1) on conflict do nothing', [project]);
    const { rows } = await client.query<{ lease_token: string }>(
      `update sluice_store.project
      set lease_token = lease_token + 1, lease_holder = $2, erased = false,
        lease_expires_at = clock_timestamp() + $3 * interval '1 millisecond'
      where project = $1 and (lease_holder is null or lease_holder = $2 or lease_expires_at <= clock_timestamp())
      returning lease_token`,
      [project, holder, ttlMs],
    );
    const token = rows[0]?.lease_token;
    if (token === undefined) return undefined;
    // Waits for a frame that is being applied; after this its holder is fenced on every shard (L3).
    await client.query('update sluice_store.shard set lease_token = $2 where project = $1', [project, token]);
    return BigInt(token) as LeaseToken;
  });
}

export function renewLease(database: Database, project: ProjectId, token: LeaseToken, ttlMs: number): Promise<boolean> {
  return database.transaction(project, async (client) => {
    const { rowCount } = await client.query(
      `update sluice_store.project
      set lease_expires_at = clock_timestamp() + $3 * interval '1 millisecond'
      where project = $1 and lease_token = $2 and lease_holder is not null`,
      [project, token, ttlMs],
    );
    return rowCount === 1;
  });
}

export function releaseLease(database: Database, project: ProjectId, token: LeaseToken): Promise<void> {
  return database.transaction(project, async (client) => {
    await client.query(
      `update sluice_store.project set lease_holder = null, lease_expires_at = null
      where project = $1 and lease_token = $2`,
      [project, token],
    );
  });
}

export function setSourceState(
  database: Database,
  project: ProjectId,
  token: LeaseToken,
  condition: SourceCondition,
): Promise<void> {
  return database.transaction(project, async (client) => {
    await lockLease(client, project, token);
    await client.query('update sluice_store.project set condition = $2 where project = $1', [
      project,
      JSON.stringify(condition),
    ]);
  });
}

/**
 * Begins a write of the lease's holder: locks the project's row, so that the lease cannot change hands before the end of
 * the transaction (L3). Rows are always locked in the order project, shard lease, stream,
 * shard, epoch.
 */
export async function lockLease(client: PoolClient, project: ProjectId, token: LeaseToken): Promise<void> {
  const { rowCount } = await client.query(
    'select from sluice_store.project where project = $1 and lease_token = $2 for no key update',
    [project, token],
  );
  if (rowCount !== 1) throw new AppError('STORE_FENCED', { internal: 'lease token' });
}
