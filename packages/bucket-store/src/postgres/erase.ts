import type { ProjectId } from '@sluice/domain';
import type { PoolClient } from 'pg';
import type { Database } from './database.ts';

/** Tables that hold a stream's rows, largest first. */
const STREAM_TABLES = [
  'chunk',
  'pack',
  'membership',
  'row_state',
  'truncation',
  'snapshot_part',
  'snapshot_range',
] as const;

/**
 * Erases what no readable checkpoint shows. Streams are marked in a transaction of their own first: a reader that finds
 * one marked knows that it may have read less than all of it.
 */
export async function eraseDropped(database: Database, project: ProjectId, rowsMax: number): Promise<boolean> {
  const streams = await markErasing(database, project);
  return database.transaction(project, async (client) => {
    let left = await pruneRowStates(client, project, rowsMax);
    for (const table of STREAM_TABLES) {
      if (left <= 0) return false;
      const { rowCount } = await client.query(
        `delete from sluice_store.${table} where ctid = any (array(
          select ctid from sluice_store.${table} where project = $1 and stream = any ($2) limit $3
        )) and project = $1`,
        [project, streams, left],
      );
      left -= rowCount ?? 0;
    }
    if (left <= 0) return false;
    await client.query('delete from sluice_store.stream where project = $1 and stream = any ($2)', [project, streams]);
    await client.query(
      `delete from sluice_store.epoch as e where e.project = $1 and e.state = 'retired' and not exists (
        select from sluice_store.stream as s where s.project = $1 and s.epoch = e.epoch
      )`,
      [project],
    );
    await eraseOrphanFloors(client, project);
    return true;
  });
}

/**
 * Erases states of rows that nobody reads again: tombstones of visible streams, and what a TRUNCATE voided. Gives what is
 * left of the bound.
 */
async function pruneRowStates(client: PoolClient, project: ProjectId, rowsMax: number): Promise<number> {
  const gone = await client.query(
    `delete from sluice_store.row_state where ctid = any (array(
      select r.ctid from sluice_store.row_state as r
      join sluice_store.stream as s on s.project = $1 and s.stream = r.stream and s.visible_after is not null
      where r.project = $1 and r.kind = 0 limit $2
    )) and project = $1`,
    [project, rowsMax],
  );
  const left = rowsMax - (gone.rowCount ?? 0);
  const truncated = await client.query<{ stream: number; lsn: string }>(
    `select s.stream, max(t.lsn) as lsn
    from sluice_store.stream as s join sluice_store.truncation as t on t.project = $1 and t.stream = s.stream
    where s.project = $1 and t.lsn > s.states_pruned_lsn
      and t.lsn <= coalesce(
        (select min(h.applied_lsn) from sluice_store.shard as h where h.project = $1 and h.epoch = s.epoch), t.lsn
      )
    group by s.stream order by s.stream limit 1`,
    [project],
  );
  const [first] = truncated.rows;
  if (!first || left <= 0) return left;
  const voided = await client.query(
    `delete from sluice_store.row_state where ctid = any (array(
      select r.ctid from sluice_store.row_state as r
      cross join lateral sluice_store.row_states_floor($1, r.stream, r.membership) as f
      where r.project = $1 and r.stream = $2 and (r.lsn, r.seq) < (f.floor_lsn, f.floor_seq) limit $3
    )) and project = $1`,
    [project, first.stream, left],
  );
  if ((voided.rowCount ?? 0) < left)
    await client.query('update sluice_store.stream set states_pruned_lsn = $3 where project = $1 and stream = $2', [
      project,
      first.stream,
      first.lsn,
    ]);
  return left - (voided.rowCount ?? 0);
}

async function eraseOrphanFloors(client: PoolClient, project: ProjectId): Promise<void> {
  for (const table of ['floor', 'mark', 'pin'])
    await client.query(
      `delete from sluice_store.${table} as f where f.project = $1 and not exists (
        select from sluice_store.epoch as e where e.project = $1 and e.epoch = f.epoch
      )`,
      [project],
    );
}

function markErasing(database: Database, project: ProjectId): Promise<number[]> {
  return database.transaction(project, async (client) => {
    // Dropped streams stay until a checkpoint without them is readable: the last one still shows them.
    await client.query(
      `update sluice_store.stream as s set erasing = true
      from sluice_store.epoch as e
      where s.project = $1 and not s.erasing and e.project = $1 and e.epoch = s.epoch
        and (
          (e.state <> 'retired' and s.dropped_after < e.checkpoint_lsn)
          or (e.state = 'retired' and s.visible_after is null)
          or (e.state = 'retired' and exists (
            select from sluice_store.epoch as serving
            where serving.project = $1 and serving.state = 'serving' and serving.checkpoint_lsn is not null
          ))
        )`,
      [project],
    );
    const { rows } = await client.query<{ stream: number }>(
      'select stream from sluice_store.stream where project = $1 and erasing order by stream',
      [project],
    );
    return rows.map((row) => row.stream);
  });
}

export function eraseProject(database: Database, project: ProjectId): Promise<void> {
  return database.transaction(project, async (client) => {
    // The token moves on and the shards go, so whoever still works for the project is fenced.
    await client.query(
      `update sluice_store.project
      set erased = true, lease_token = lease_token + 1, lease_holder = null, lease_expires_at = null, condition = null,
        serving_epoch = null
      where project = $1`,
      [project],
    );
    await client.query(
      'update sluice_store.shard_lease set token = token + 1, holder = null, expires_at = null where project = $1',
      [project],
    );
    await client.query(
      'update sluice_store.compaction set token = token + 1, holder = null, expires_at = null where project = $1',
      [project],
    );
    for (const table of ['shard', 'epoch', 'stream', ...STREAM_TABLES, 'issue', 'floor', 'mark', 'pin'])
      await client.query(`delete from sluice_store.${table} where project = $1`, [project]);
  });
}
