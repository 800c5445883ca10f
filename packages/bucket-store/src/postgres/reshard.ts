import { barrierAt, type Epoch, type LeaseToken, type Lsn, type ProjectId } from '@sluice/domain';
import { AppError, assert } from '@sluice/errors';
import type { PoolClient } from 'pg';
import { rowKeysWith } from '../plan-tables.ts';
import type { Database } from './database.ts';
import { lockLease } from './leases.ts';

export interface Reshard {
  readonly token: LeaseToken;
  readonly epoch: Epoch;
  readonly shards: number;
  readonly at: Lsn;
}

/** L4: in one transaction, so that no frame is applied between the old map and the new one. */
export function reshard(database: Database, project: ProjectId, change: Reshard): Promise<number> {
  const { token, epoch, shards, at } = change;
  return database.transaction(project, async (client) => {
    await lockLease(client, project, token);
    const plans = await plansInUse(client, project, epoch);
    await assertAllAt(client, project, change);
    await client.query('delete from sluice_store.shard where project = $1 and epoch = $2 and shard >= $3', [
      project,
      epoch,
      shards,
    ]);
    // All shards stand at one barrier, so that any of them tells where the new ones begin.
    await client.query(
      `insert into sluice_store.shard (
        project, epoch, shard, map_version, lease_token, applied_lsn, applied_seq, barrier_lsn, barrier_end_lsn,
        barrier_committed_at_ms, previous_barrier_end_lsn, worker_token
      )
      select $1, $2, n, s.map_version, s.lease_token, s.applied_lsn, s.applied_seq, s.barrier_lsn, s.barrier_end_lsn,
        s.barrier_committed_at_ms, s.previous_barrier_end_lsn, coalesce(l.token, 0)
      from generate_series(1, $3::int - 1) as n
      join sluice_store.shard as s on s.project = $1 and s.epoch = $2 and s.shard = 0
      left join sluice_store.shard_lease as l on l.project = $1 and l.shard = n
      on conflict do nothing`,
      [project, epoch, shards],
    );
    await client.query(
      "update sluice_store.shard set map_version = map_version + 1, barriers = '{}' where project = $1 and epoch = $2",
      [project, epoch],
    );
    const { rows } = await client.query<{ map_version: number }>(
      `update sluice_store.epoch as e
      set map_version = e.map_version + 1, shards = $3, row_keys = $4, level_lsn = $5,
        level_committed_at_ms = s.barrier_committed_at_ms
      from sluice_store.shard as s
      where e.project = $1 and e.epoch = $2 and s.project = $1 and s.epoch = $2 and s.shard = 0
      returning e.map_version`,
      [project, epoch, shards, JSON.stringify(rowKeysWith({}, plans)), at],
    );
    assert(rows[0] !== undefined, 'an epoch that has shards is there');
    return rows[0].map_version;
  });
}

async function plansInUse(client: PoolClient, project: ProjectId, epoch: Epoch): Promise<unknown[]> {
  const { rows } = await client.query<{ plan: unknown; visible_after: string | null }>(
    `select plan, visible_after from sluice_store.stream
    where project = $1 and epoch = $2 and dropped_after is null order by stream for no key update`,
    [project, epoch],
  );
  assert(
    rows.every((row) => row.visible_after !== null),
    'a shard map changes only while nothing is copied',
  );
  return rows.map((row) => row.plan);
}

async function assertAllAt(client: PoolClient, project: ProjectId, { epoch, shards, at }: Reshard): Promise<void> {
  const { rows } = await client.query<{ applied_lsn: string; applied_seq: string }>(
    `select applied_lsn, applied_seq from sluice_store.shard
    where project = $1 and epoch = $2 order by shard for no key update`,
    [project, epoch],
  );
  if (rows.length === 0) throw new AppError('STORE_FENCED', { internal: 'retired epoch' });
  const barrier = barrierAt(at);
  const isAt = rows.every((row) => BigInt(row.applied_lsn) === barrier.lsn && Number(row.applied_seq) === barrier.seq);
  assert(isAt && shards > 0, 'a shard map changes only at a barrier that all shards have applied (L4)');
}
