import type { ProjectId, ShardLeaseToken } from '@sluice/domain';
import type { Database } from './database.ts';

export function acquireShardLease(
  database: Database,
  project: ProjectId,
  request: { readonly shard: number; readonly holder: string; readonly ttlMs: number },
): Promise<ShardLeaseToken | undefined> {
  const { shard, holder, ttlMs } = request;
  return database.transaction(project, async (client) => {
    // Those who wait ask often; they write nothing.
    const { rowCount: taken } = await client.query(
      `select from sluice_store.shard_lease
      where project = $1 and shard = $2 and holder <> $3 and expires_at > clock_timestamp()`,
      [project, shard, holder],
    );
    if (taken === 1) return undefined;
    // Until the replicator leases it, a project that only has workers counts as erased: there is nothing to read.
    await client.query('insert into sluice_store.project (project, erased) values ($1, true) on conflict do nothing', [
      project,
    ]);
    // Whoever makes shards holds the project's row and reads the leases: either it sees this one or we see its shards.
    await client.query('select from sluice_store.project where project = $1 for share', [project]);
    await client.query(
      'insert into sluice_store.shard_lease (project, shard, token) values ($1, $2, 0) on conflict do nothing',
      [project, shard],
    );
    const { rows } = await client.query<{ token: string }>(
      `update sluice_store.shard_lease
      set token = token + 1, holder = $3, expires_at = clock_timestamp() + $4 * interval '1 millisecond'
      where project = $1 and shard = $2 and (holder is null or holder = $3 or expires_at <= clock_timestamp())
      returning token`,
      [project, shard, holder, ttlMs],
    );
    const token = rows[0]?.token;
    if (token === undefined) return undefined;
    // Waits for a frame that is being applied; after this a former holder is fenced (L3).
    await client.query('update sluice_store.shard set worker_token = $3 where project = $1 and shard = $2', [
      project,
      shard,
      token,
    ]);
    return BigInt(token) as ShardLeaseToken;
  });
}

export function renewShardLease(
  database: Database,
  project: ProjectId,
  held: { readonly shard: number; readonly token: ShardLeaseToken; readonly ttlMs: number },
): Promise<boolean> {
  return database.transaction(project, async (client) => {
    const { rowCount } = await client.query(
      `update sluice_store.shard_lease
      set expires_at = clock_timestamp() + $4 * interval '1 millisecond'
      where project = $1 and shard = $2 and token = $3 and holder is not null`,
      [project, held.shard, held.token, held.ttlMs],
    );
    return rowCount === 1;
  });
}

export function releaseShardLease(
  database: Database,
  project: ProjectId,
  held: { readonly shard: number; readonly token: ShardLeaseToken },
): Promise<void> {
  return database.transaction(project, async (client) => {
    await client.query(
      `update sluice_store.shard_lease set holder = null, expires_at = null
      where project = $1 and shard = $2 and token = $3`,
      [project, held.shard, held.token],
    );
  });
}
