import type { BucketId, Epoch, Lsn, ProjectId, StreamNo } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import { readDirectoryBase } from '@sluice/protocol';
import type { PoolClient } from 'pg';
import type {
  ChunkKey,
  ChunkOutline,
  CompactionStore,
  CompactionToken,
  FloorAges,
  Floors,
} from '../compaction-port.ts';
import type { StoredChunk } from '../port.ts';
import type { Database } from './database.ts';
import {
  bucketFromBytes,
  bytesFromBucket,
  keyArrays,
  packBuckets,
  replaceChunks,
  sweepStream,
  type Window,
} from './fold.ts';
import { lsnFromText } from './frames.ts';
import { CHUNK_COLUMNS, type ChunkRow, chunksFromRows } from './reads.ts';

/** The statements are those of 0011_compaction.sql and 0014_deflated_packs.sql. */
export function compactionStoreOf(database: Database): Omit<CompactionStore, 'giveBackSpace'> {
  return {
    acquireCompaction: (project, holder, ttlMs) => acquireCompaction(database, project, holder, ttlMs),
    releaseCompaction: (project, token) => releaseCompaction(database, project, token),
    raiseFloors: (project, token, ages) => raiseFloors(database, project, token, ages),
    beginPass: (project, token) => beginPass(database, project, token),
    endPass: (project, token) => endPass(database, project, token),
    pinCheckpoint: (project, holder, pin) => pinCheckpoint(database, project, holder, pin),
    unpinCheckpoint: (project, holder) => unpinCheckpoint(database, project, holder),
    readCrowdedBuckets: (project, request) => readCrowdedBuckets(database, project, request),
    readOutlines: (project, request) => readOutlines(database, project, request),
    readExactChunks: (project, stream, keys) => readExactChunks(database, project, stream, keys),
    replaceChunks: (project, token, change) => replaceChunks(database, project, token, change),
    sweepStream: (project, token, stream, rowsMax) => sweepStream(database, project, token, { stream, rowsMax }),
    packBuckets: (project, token, request) => packBuckets(database, project, token, request),
  };
}

function acquireCompaction(
  database: Database,
  project: ProjectId,
  holder: string,
  ttlMs: number,
): Promise<CompactionToken | undefined> {
  return database.transaction(project, async (client) => {
    await client.query('insert into sluice_store.compaction (project) values ($1) on conflict do nothing', [project]);
    const { rows } = await client.query<{ token: string }>(
      `update sluice_store.compaction
      set token = token + 1, holder = $2, expires_at = clock_timestamp() + $3 * interval '1 millisecond'
      where project = $1 and (holder is null or holder = $2 or expires_at <= clock_timestamp())
      returning token`,
      [project, holder, ttlMs],
    );
    const token = rows[0]?.token;
    return token === undefined ? undefined : (BigInt(token) as CompactionToken);
  });
}

function releaseCompaction(database: Database, project: ProjectId, token: CompactionToken): Promise<void> {
  return database.transaction(project, async (client) => {
    await client.query(
      'update sluice_store.compaction set holder = null, expires_at = null where project = $1 and token = $2',
      [project, token],
    );
  });
}

async function lockToken(client: PoolClient, project: ProjectId, token: CompactionToken): Promise<void> {
  const { rowCount } = await client.query(
    'select from sluice_store.compaction where project = $1 and token = $2 for no key update',
    [project, token],
  );
  if (rowCount !== 1) throw new AppError('STORE_FENCED', { internal: 'compaction token' });
}

interface FloorRow {
  epoch: number;
  read_lsn: string;
  resume_lsn: string;
  passed_lsn: string | null;
}
/** Marks older than this many readable ages are kept this many to a retention. */
const RECENT_AGES = 2;
const MARKS_PER_RETENTION = 256;

const SERVING = `select e.epoch, e.checkpoint_lsn as lsn, e.checkpoint_committed_at_ms as at_ms
  from sluice_store.epoch as e
  where e.project = $1 and e.state = 'serving' and e.checkpoint_lsn is not null`;

function raiseFloors(
  database: Database,
  project: ProjectId,
  token: CompactionToken,
  ages: FloorAges,
): Promise<Floors | undefined> {
  return database.transaction(project, async (client) => {
    await lockToken(client, project, token);
    await client.query(
      `with newest as (${SERVING})
      insert into sluice_store.mark (project, epoch, lsn, committed_at_ms)
      select $1, n.epoch, n.lsn, n.at_ms from newest as n
      where not exists (
        select from sluice_store.mark as m
        where m.project = $1 and m.epoch = n.epoch and m.lsn < n.lsn and m.committed_at_ms > n.at_ms - $2
      )
      on conflict do nothing`,
      [project, Math.floor(ages.readableMs / 4)],
    );
    await thinMarks(client, project, ages);
    const { rows } = await client.query<FloorRow>(
      `with newest as (${SERVING}),
      candidate as (
        select
          n.epoch,
          least(
            coalesce((
              select max(m.lsn) from sluice_store.mark as m
              where m.project = $1 and m.epoch = n.epoch and m.committed_at_ms <= n.at_ms - $2
            ), 0),
            (
              select min(p.lsn) from sluice_store.pin as p
              where p.project = $1 and p.epoch = n.epoch and p.expires_at > clock_timestamp()
            )
          ) as read_lsn,
          coalesce((
            select max(m.lsn) from sluice_store.mark as m
            where m.project = $1 and m.epoch = n.epoch and m.committed_at_ms <= n.at_ms - $3
          ), 0) as resume_lsn
        from newest as n
      )
      insert into sluice_store.floor as f (project, epoch, read_lsn, resume_lsn)
      select $1, c.epoch, c.read_lsn, least(c.read_lsn, c.resume_lsn) from candidate as c
      on conflict (project, epoch) do update set
        read_lsn = greatest(f.read_lsn, excluded.read_lsn),
        resume_lsn = greatest(
          f.resume_lsn,
          (select least(c.resume_lsn, greatest(f.read_lsn, excluded.read_lsn)) from candidate as c)
        )
      returning epoch, read_lsn, resume_lsn, passed_lsn`,
      [project, ages.readableMs, ages.retentionMs],
    );
    const [row] = rows;
    return (
      row && {
        epoch: row.epoch as Epoch,
        readFrom: lsnFromText(row.read_lsn),
        resumeFrom: lsnFromText(row.resume_lsn),
        passedThrough: row.passed_lsn === null ? undefined : lsnFromText(row.passed_lsn),
      }
    );
  });
}

async function thinMarks(client: PoolClient, project: ProjectId, ages: FloorAges): Promise<void> {
  await client.query(
    `with newest as (${SERVING})
    delete from sluice_store.mark as m using newest as n
    where m.project = $1 and (
      m.epoch <> n.epoch
      or m.committed_at_ms < n.at_ms - $2 and exists (
        select from sluice_store.mark as later
        where later.project = $1 and later.epoch = m.epoch and later.lsn > m.lsn
          and later.committed_at_ms < n.at_ms - $2 and later.committed_at_ms / $3 = m.committed_at_ms / $3
      )
    )`,
    [project, ages.readableMs * RECENT_AGES, Math.max(1, Math.floor(ages.retentionMs / MARKS_PER_RETENTION))],
  );
}

function beginPass(database: Database, project: ProjectId, token: CompactionToken): Promise<void> {
  return database.transaction(project, async (client) => {
    await lockToken(client, project, token);
    await client.query('update sluice_store.floor set passed_lsn = null where project = $1', [project]);
  });
}

function endPass(database: Database, project: ProjectId, token: CompactionToken): Promise<void> {
  return database.transaction(project, async (client) => {
    await lockToken(client, project, token);
    await client.query(
      `with newest as (${SERVING})
      update sluice_store.floor as f set passed_lsn = n.lsn from newest as n
      where f.project = $1 and f.epoch = n.epoch`,
      [project],
    );
  });
}

function pinCheckpoint(
  database: Database,
  project: ProjectId,
  holder: string,
  pin: { epoch: Epoch; lsn: Lsn; ttlMs: number },
): Promise<void> {
  return database.transaction(project, async (client) => {
    await client.query(
      `insert into sluice_store.pin (project, holder, epoch, lsn, expires_at)
      values ($1, $2, $3, $4, clock_timestamp() + $5 * interval '1 millisecond')
      on conflict (project, holder) do update
        set epoch = excluded.epoch, lsn = excluded.lsn, expires_at = excluded.expires_at`,
      [project, holder, pin.epoch, pin.lsn, pin.ttlMs],
    );
  });
}
function unpinCheckpoint(database: Database, project: ProjectId, holder: string): Promise<void> {
  return database.transaction(project, async (client) => {
    await client.query('delete from sluice_store.pin where project = $1 and holder = $2', [project, holder]);
  });
}

async function readCrowdedBuckets(
  database: Database,
  project: ProjectId,
  request: Window,
): Promise<{ buckets: BucketId[]; next: BucketId | undefined }> {
  const { rows } = await database.query<{ bucket: Buffer | null; looked_at: Buffer | null }>({
    name: 'sluice_crowded_buckets',
    text: 'select bucket, looked_at from sluice_store.crowded_buckets($1, $2, $3, $4, $5)',
    values: [project, request.stream, request.readFrom, bytesFromBucket(request.after), request.bucketsMax],
  });
  const last = rows.find((row) => row.looked_at)?.looked_at;
  const buckets = rows.flatMap((row) => (row.bucket ? [bucketFromBytes(row.bucket)] : []));
  return { buckets, next: last ? bucketFromBytes(last) : undefined };
}

interface OutlineRow {
  bucket: Buffer;
  lsn: string;
  seq: string;
  part: string;
  ops: number;
  rows_delta: number;
  payload_bytes: number;
  base_lsn: string | null;
  directory_head: Buffer | null;
}

async function readOutlines(
  database: Database,
  project: ProjectId,
  request: { stream: StreamNo; readFrom: Lsn; buckets: readonly BucketId[] },
): Promise<ChunkOutline[]> {
  const { rows } = await database.query<OutlineRow>({
    name: 'sluice_chunk_outlines',
    text: `select bucket, lsn, seq, part, ops, rows_delta, payload_bytes, base_lsn, directory_head
      from sluice_store.chunk_outlines($1, $2, $3, $4)`,
    values: [project, request.stream, request.buckets.map(bytesFromBucket), request.readFrom],
  });
  return rows.map((row) => ({
    bucket: bucketFromBytes(row.bucket),
    position: { lsn: lsnFromText(row.lsn), seq: Number(row.seq) },
    part: Number(row.part),
    ops: row.ops,
    rowsDelta: row.rows_delta,
    payloadBytes: row.payload_bytes,
    baseLsn: row.directory_head ? readDirectoryBase(row.directory_head) : lsnFromText(row.base_lsn),
  }));
}

async function readExactChunks(
  database: Database,
  project: ProjectId,
  stream: StreamNo,
  keys: readonly ChunkKey[],
): Promise<StoredChunk[]> {
  const { rows } = await database.query<ChunkRow>({
    name: 'sluice_read_exact_chunks',
    text: `select ${CHUNK_COLUMNS} from sluice_store.read_exact_chunks($1, $2, $3, $4, $5, $6)`,
    values: [project, stream, ...keyArrays(keys)],
  });
  return chunksFromRows(rows);
}
