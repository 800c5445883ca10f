import type { Epoch, LeaseToken, Lsn, ProjectId, StreamNo } from '@sluice/domain';
import { AppError, assert } from '@sluice/errors';
import type { PoolClient } from 'pg';
import { rowKeysWith, tablesOfPlan } from '../plan-tables.ts';
import type { NewStream, RowKeys, StreamRecord } from '../port.ts';
import { lockCopied } from './copies.ts';
import type { Database } from './database.ts';
import { retireEpochs } from './epochs.ts';
import { lsnFromText } from './frames.ts';
import { lockLease } from './leases.ts';

interface StreamRow {
  stream: number;
  epoch: number;
  name: string;
  content_hash: string;
  plan: unknown;
  activated_at: string;
  backfill_point: string | null;
  loaded_tables: string[];
  visible_after: string | null;
  dropped_after: string | null;
}
const COLUMNS = `stream, epoch, name, content_hash, plan, activated_at, backfill_point, loaded_tables, visible_after,
  dropped_after`;

export function addStreams(
  database: Database,
  project: ProjectId,
  token: LeaseToken,
  request: { epoch: Epoch; streams: readonly NewStream[]; activatedAt: Lsn },
): Promise<StreamRecord[]> {
  const { epoch, streams, activatedAt } = request;
  return database.transaction(project, async (client) => {
    await lockLease(client, project, token);
    // A frame is applied either wholly before the new streams are known, or with them.
    const appliedLsn = await lockShards(client, project, epoch, 'max');
    await addRowKeys(client, project, epoch, streams);
    const next = await client.query<{ first: number }>(
      `update sluice_store.project set next_stream = next_stream + $2 where project = $1
      returning next_stream - $2 as first`,
      [project, streams.length],
    );
    const first = next.rows[0]?.first ?? 0;
    const { rows } = await client.query<StreamRow>(
      `insert into sluice_store.stream (
        project, stream, epoch, name, content_hash, plan, activated_at, applied_before
      )
      select $1, $3 + s.n - 1, $2, s.name, s.content_hash, s.plan, $4, $5
      from unnest($6::text[], $7::text[], $8::json[]) with ordinality as s (name, content_hash, plan, n)
      returning ${COLUMNS}`,
      [
        project,
        epoch,
        first,
        activatedAt,
        appliedLsn,
        streams.map((stream) => stream.name),
        streams.map((stream) => stream.contentHash),
        streams.map((stream) => JSON.stringify(stream.plan)),
      ],
    );
    return rows.map(streamFromRow).sort((a, b) => a.stream - b.stream);
  });
}

/** Rows of a new table belong to shards by its key; those of a known one stay where they are (L4). */
async function addRowKeys(
  client: PoolClient,
  project: ProjectId,
  epoch: Epoch,
  streams: readonly NewStream[],
): Promise<void> {
  const { rows } = await client.query<{ row_keys: RowKeys }>(
    'select row_keys from sluice_store.epoch where project = $1 and epoch = $2 for no key update',
    [project, epoch],
  );
  const plans = streams.map(({ plan }) => plan);
  await client.query('update sluice_store.epoch set row_keys = $3 where project = $1 and epoch = $2', [
    project,
    epoch,
    JSON.stringify(rowKeysWith(rows[0]?.row_keys ?? {}, plans)),
  ]);
}

export function setBackfillPoint(
  database: Database,
  project: ProjectId,
  token: LeaseToken,
  change: { streams: readonly StreamNo[]; point: Lsn },
): Promise<void> {
  return database.transaction(project, async (client) => {
    await lockLease(client, project, token);
    for (const row of await lockCopied(client, project, change.streams)) {
      assert(row.visible_after === null, 'copying again is a new generation, never rows into a visible stream (L11)');
      assert(lsnFromText(row.applied_before) < change.point, 'a copy is read after its streams were activated (L11)');
    }
    // A new point voids what was copied under the one before, and the states of rows with it.
    await client.query(
      `update sluice_store.shard as h set row_states_revision = h.row_states_revision + 1
      where h.project = $1 and h.epoch = any (
        select s.epoch from sluice_store.stream as s
        where s.project = $1 and s.stream = any ($2) and s.backfill_point is distinct from $3
      )`,
      [project, change.streams, change.point],
    );
    await client.query(
      `with moved as (
        update sluice_store.stream
        set backfill_point = $3, loaded_tables = '{}', copy_point = null, is_settled = true
        where project = $1 and stream = any ($2) and backfill_point is distinct from $3
        returning stream
      )
      delete from sluice_store.snapshot_range as r using moved as m where r.project = $1 and r.stream = m.stream`,
      [project, change.streams, change.point],
    );
  });
}

export function switchStreams(
  database: Database,
  project: ProjectId,
  token: LeaseToken,
  change: { epoch: Epoch; show: readonly StreamNo[]; drop: readonly StreamNo[] },
): Promise<void> {
  const { epoch, show, drop } = change;
  return database.transaction(project, async (client) => {
    await lockLease(client, project, token);
    const shown = await lockStreams(client, project, show);
    await lockStreams(client, project, drop);
    const barrierLsn = await lockShards(client, project, epoch, 'min');
    for (const { stream, copy } of shown) assertReady(stream, copy, { epoch, barrierLsn });
    await assertSettled(client, project, show, barrierLsn);
    const checkpoint = await client.query<{ lsn: string }>(
      `select coalesce(checkpoint_lsn, 0) as lsn from sluice_store.epoch
      where project = $1 and epoch = $2 for no key update`,
      [project, epoch],
    );
    const after = lsnFromText(checkpoint.rows[0]?.lsn ?? null);
    await client.query(
      `update sluice_store.stream set visible_after = $3
      where project = $1 and stream = any ($2) and visible_after is null`,
      [project, show, after],
    );
    await client.query(
      `update sluice_store.stream set dropped_after = $3
      where project = $1 and stream = any ($2) and dropped_after is null`,
      [project, drop, after],
    );
    await retireEpochs(client, project, 'serving', epoch);
    await client.query(
      `update sluice_store.epoch set state = 'serving', held = false where project = $1 and epoch = $2`,
      [project, epoch],
    );
    await client.query('update sluice_store.project set serving_epoch = $2 where project = $1', [project, epoch]);
  });
}

interface LockedStream {
  readonly stream: StreamRecord;
  readonly copy: { readonly point: Lsn | undefined; readonly isSettled: boolean };
}

async function lockStreams(
  client: PoolClient,
  project: ProjectId,
  streams: readonly StreamNo[],
): Promise<LockedStream[]> {
  const { rows } = await client.query<StreamRow & { point: string | null; is_settled: boolean }>(
    `select ${COLUMNS}, coalesce(copy_point, backfill_point) as point, is_settled from sluice_store.stream
    where project = $1 and stream = any ($2) and not erasing order by stream for no key update`,
    [project, streams],
  );
  if (rows.length !== new Set(streams).size) throw new AppError('STORE_FENCED', { internal: 'unknown stream' });
  return rows.map((row) => ({
    stream: streamFromRow(row),
    copy: { point: row.point === null ? undefined : lsnFromText(row.point), isSettled: row.is_settled },
  }));
}

function assertReady(
  stream: StreamRecord,
  copy: LockedStream['copy'],
  { epoch, barrierLsn }: { readonly epoch: Epoch; readonly barrierLsn: Lsn },
): void {
  assert(stream.epoch === epoch && stream.droppedAfter === undefined, 'a stream of another epoch cannot be shown');
  assert(
    copy.point !== undefined && copy.point <= barrierLsn,
    'a stream is shown only when everything up to the newest point of its copy is applied (L10)',
  );
  assert(copy.isSettled, 'a stream whose copy was resumed is shown only when its sums are put right (L10)');
  const missing = tablesOfPlan(stream.plan).filter((table) => !stream.loadedTables.includes(table));
  assert(missing.length === 0, `a stream is shown only when its copy is complete (L10); missing ${missing.length}`);
}

/** What a copy with row states needs beside: rows that it was laid beside are applied, and no column is missing (L10, L17). */
async function assertSettled(
  client: PoolClient,
  project: ProjectId,
  show: readonly StreamNo[],
  barrierLsn: Lsn,
): Promise<void> {
  const { rows } = await client.query<{ settled_lsn: string; misses_columns: boolean }>(
    `select coalesce(max(s.settled_lsn), 0) as settled_lsn, exists (
      select from sluice_store.row_state as r
      cross join lateral sluice_store.row_states_floor($1, r.stream, r.membership) as f
      where r.project = $1 and r.stream = any ($2) and r.kind = 2 and r.origin is not null and r.origin <> r.row_key
        and (r.lsn, r.seq) >= (f.floor_lsn, f.floor_seq)
    ) as misses_columns
    from sluice_store.stream as s where s.project = $1 and s.stream = any ($2)`,
    [project, show],
  );
  assert(
    lsnFromText(rows[0]?.settled_lsn ?? null) <= barrierLsn,
    'a stream is shown only when everything that its copy was laid beside is applied (L10)',
  );
  if (rows[0]?.misses_columns)
    throw new AppError('SCHEMA_RELOADING', { internal: 'columns of a row were in no copy (L17)' });
}

/** Locks an epoch's shards and gives the greatest applied LSN, or the LSN of the greatest barrier that all have applied. */
async function lockShards(client: PoolClient, project: ProjectId, epoch: Epoch, which: 'max' | 'min'): Promise<Lsn> {
  const { rows } = await client.query<{ applied_lsn: string; barrier_lsn: string }>(
    `select applied_lsn, barrier_lsn from sluice_store.shard
    where project = $1 and epoch = $2 order by shard for no key update`,
    [project, epoch],
  );
  if (rows.length === 0) throw new AppError('STORE_FENCED', { internal: 'retired epoch' });
  const lsns = rows.map((row) => lsnFromText(which === 'max' ? row.applied_lsn : row.barrier_lsn));
  return lsns.reduce((a, b) => ((which === 'max' ? b > a : b < a) ? b : a));
}

export async function readStreams(database: Database, project: ProjectId): Promise<StreamRecord[]> {
  const { rows } = await database.query<StreamRow>({
    name: 'sluice_read_streams',
    text: `select ${COLUMNS} from sluice_store.read_streams($1)`,
    values: [project],
  });
  return rows.map(streamFromRow);
}

function streamFromRow(row: StreamRow): StreamRecord {
  const optional = (text: string | null) => (text === null ? undefined : lsnFromText(text));
  return {
    stream: row.stream as StreamNo,
    epoch: row.epoch as Epoch,
    name: row.name,
    contentHash: row.content_hash,
    plan: row.plan,
    activatedAt: lsnFromText(row.activated_at),
    backfillPoint: optional(row.backfill_point),
    loadedTables: row.loaded_tables,
    visibleAfter: optional(row.visible_after),
    droppedAfter: optional(row.dropped_after),
  };
}
