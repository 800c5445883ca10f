import type { BucketId, Checkpoint, Epoch, LookupId, Lsn, ProjectId, StreamNo } from '@sluice/domain';
import type { ChunkCodec } from '@sluice/protocol';
import { type ChunkCursor, formatChunkCursor, NO_CURSOR, parseChunkCursor } from '../chunk-cursor.ts';
import type { BucketRef, BucketTotals, ChunkPage, ChunkRequest, LookupRef, SourceIssue, StoredChunk } from '../port.ts';
import { int4Array } from './binary-array.ts';
import { CopiedRows, hexesSql, hexSql, intSql, intsSql } from './copy-out.ts';
import type { Database } from './database.ts';
import { lsnFromText } from './frames.ts';
import { contentOf, openBody } from './pack-format.ts';

export async function readCheckpoint(database: Database, project: ProjectId): Promise<Checkpoint | undefined> {
  const { rows } = await database.query<{ epoch: number; lsn: string; committed_at_ms: string }>({
    name: 'sluice_read_checkpoint',
    text: 'select epoch, lsn, committed_at_ms from sluice_store.read_checkpoint($1)',
    values: [project],
  });
  const [row] = rows;
  return row && { epoch: row.epoch as Epoch, lsn: lsnFromText(row.lsn), committedAtMs: Number(row.committed_at_ms) };
}

/** 64-bit integers are text where the driver reads them, and integers where they come as bytes. */
export interface ChunkRow {
  stream: number;
  bucket: Buffer;
  lsn: string | bigint;
  seq: string | bigint;
  part: string | bigint;
  ops: number;
  rows_delta: number;
  checksum_delta: string | bigint;
  codec: number;
  payload_bytes: number;
  directory: Buffer;
  payload: Buffer;
  pack_format: number;
  pack_start: number;
  directory_bytes: number;
  stored_bytes: number;
}
export const CHUNK_COLUMNS = `stream, bucket, lsn, seq, part, ops, rows_delta, checksum_delta, codec, payload_bytes, directory,
  payload, pack_format, pack_start, directory_bytes, stored_bytes`;
const CHUNK_COLUMNS_COUNT = 16;

export async function readChunks(database: Database, project: ProjectId, request: ChunkRequest): Promise<ChunkPage> {
  const from: ChunkCursor = request.cursor === undefined ? NO_CURSOR : parseChunkCursor(request.cursor);
  const parameters = [
    intSql(project),
    intsSql(request.buckets.map((ref) => ref.stream)),
    hexesSql(request.buckets.map((ref) => ref.bucket)),
    intSql(request.after),
    intSql(request.through),
    intSql(request.bytesMax),
    intSql(from.stream),
    hexSql(from.bucket),
    intSql(from.lsn),
    intSql(from.seq),
    intSql(from.part),
  ];
  const select = `select ${CHUNK_COLUMNS} from sluice_store.read_chunks(${parameters.join()})`;
  const rows = chunkRowsFromCopy(await database.copy(`copy (${select}) to stdout (format binary)`));
  const chunks = chunksFromRows(rows);
  const last = chunks.at(-1);
  const bytes = chunks.reduce((sum, chunk) => sum + chunk.directory.length + chunk.payload.length, 0);
  return { chunks, next: last !== undefined && bytes >= request.bytesMax ? formatChunkCursor(last) : undefined };
}

/** With views of what was copied; a row holds on to no other's bytes. */
function chunkRowsFromCopy(copied: readonly Buffer[]): ChunkRow[] {
  const copy = new CopiedRows(copied, CHUNK_COLUMNS_COUNT);
  const rows: ChunkRow[] = [];
  while (copy.next())
    rows.push({
      stream: copy.int4(),
      bucket: copy.blob(),
      lsn: copy.int8(),
      seq: copy.int8(),
      part: copy.int8(),
      ops: copy.int4(),
      rows_delta: copy.int4(),
      checksum_delta: copy.int8(),
      codec: copy.int2(),
      payload_bytes: copy.int4(),
      directory: copy.blob(),
      payload: copy.blob(),
      pack_format: copy.int2(),
      pack_start: copy.int4(),
      directory_bytes: copy.int4(),
      stored_bytes: copy.int4(),
    });
  return rows;
}

/** Chunks that stand in packs come with the pack's body, of those that follow one another only the first. */
export function chunksFromRows(rows: readonly ChunkRow[]): StoredChunk[] {
  let open: Buffer = NOTHING;
  return rows.map((row) => {
    if (row.pack_start === 0) return chunkFromRow(row);
    if (row.payload.length > 0) open = openBody(row.pack_format, row.payload);
    const slice = { start: row.pack_start - 1, directoryBytes: row.directory_bytes, storedBytes: row.stored_bytes };
    return chunkFromRow({ ...row, ...contentOf(open, slice) });
  });
}
const NOTHING = Buffer.alloc(0);

export function chunkFromRow(row: ChunkRow): StoredChunk {
  return {
    stream: row.stream as StreamNo,
    bucket: row.bucket.toString('hex') as BucketId,
    position: { lsn: BigInt(row.lsn) as Lsn, seq: Number(row.seq) },
    part: Number(row.part),
    ops: row.ops,
    rowsDelta: row.rows_delta,
    checksumDelta: BigInt.asUintN(64, BigInt(row.checksum_delta)),
    codec: row.codec as ChunkCodec,
    payloadBytes: row.payload_bytes,
    directory: row.directory,
    payload: row.payload,
  };
}

export async function readSums(
  database: Database,
  project: ProjectId,
  buckets: readonly BucketRef[],
  through: Lsn,
): Promise<Map<BucketId, BucketTotals>> {
  const { rows } = await database.query<{ bucket: Buffer; checksum: string; row_count: string }>({
    name: 'sluice_read_sums',
    text: 'select bucket, checksum, row_count from sluice_store.read_sums($1, $2, $3, $4)',
    values: [project, streamsOf(buckets), buckets.map((ref) => Buffer.from(ref.bucket, 'hex')), through],
  });
  return new Map(
    rows.map((row) => [
      row.bucket.toString('hex') as BucketId,
      { checksum: BigInt.asUintN(64, BigInt(row.checksum)), rows: Number(row.row_count) },
    ]),
  );
}

interface ValueRow {
  lookup: Buffer;
  value: Buffer;
}

export async function readMembership(
  database: Database,
  project: ProjectId,
  lookups: readonly LookupRef[],
  through: Lsn,
): Promise<Map<LookupId, string[]>> {
  const { rows } = await database.query<ValueRow>({
    name: 'sluice_read_membership',
    text: 'select lookup, value from sluice_store.read_membership($1, $2, $3, $4, $5)',
    values: [project, ...lookupArrays(lookups), through],
  });
  return valuesByLookup(rows);
}

export async function readMembershipTouched(
  database: Database,
  project: ProjectId,
  lookups: readonly LookupRef[],
  range: { after: Lsn; through: Lsn },
): Promise<Map<LookupId, string[]>> {
  const { rows } = await database.query<ValueRow>({
    name: 'sluice_read_membership_touched',
    text: 'select lookup, value from sluice_store.read_membership_touched($1, $2, $3, $4, $5, $6)',
    values: [project, ...lookupArrays(lookups), range.after, range.through],
  });
  return valuesByLookup(rows);
}

function lookupArrays(lookups: readonly LookupRef[]): unknown[] {
  return [
    streamsOf(lookups),
    int4Array(lookups.length, (i) => (lookups[i] as LookupRef).membership),
    lookups.map((ref) => Buffer.from(ref.lookup, 'hex')),
  ];
}
function streamsOf(refs: readonly { readonly stream: StreamNo }[]): Buffer {
  return int4Array(refs.length, (i) => (refs[i] as { stream: StreamNo }).stream);
}

/** Values in the order of their bytes, so that equal sets are equal lists. */
function valuesByLookup(rows: readonly ValueRow[]): Map<LookupId, string[]> {
  const values = new Map<LookupId, string[]>();
  for (const row of rows) {
    const lookup = row.lookup.toString('hex') as LookupId;
    const known = values.get(lookup);
    if (known) known.push(row.value.toString('utf8'));
    else values.set(lookup, [row.value.toString('utf8')]);
  }
  for (const list of values.values()) list.sort();
  return values;
}

export async function readTruncated(
  database: Database,
  project: ProjectId,
  streams: readonly StreamNo[],
  range: { after: Lsn; through: Lsn },
): Promise<StreamNo[]> {
  const { rows } = await database.query<{ stream: number }>({
    name: 'sluice_read_truncated',
    text: 'select stream from sluice_store.read_truncated($1, $2, $3, $4)',
    values: [project, int4Array(streams.length, (i) => streams[i] as number), range.after, range.through],
  });
  return rows.map((row) => row.stream as StreamNo);
}

/** How many issues are told, newest first. */
export const ISSUES_MAX = 100;

export function readIssues(database: Database, project: ProjectId): Promise<SourceIssue[]> {
  return database.transaction(project, async (client) => {
    const { rows } = await client.query<Omit<SourceIssue, 'count'> & { count: string }>(
      `select code, table_name as table, count, details from sluice_store.issue
      where project = $1 order by seen_at desc, code, table_name limit $2`,
      [project, ISSUES_MAX],
    );
    return rows.map((row) => ({ ...row, count: Number(row.count) }));
  });
}
