import { type BucketId, comparePositions, type Lsn, type ProjectId, type StreamNo } from '@sluice/domain';
import { AppError, InvariantError } from '@sluice/errors';
import type { PoolClient } from 'pg';
import type { ChunkKey, CompactionToken } from '../compaction-port.ts';
import type { StoredChunk } from '../port.ts';
import { int4Array, int8Array, int8ArrayOfNumbers } from './binary-array.ts';
import type { Database } from './database.ts';
import { lsnFromText } from './frames.ts';
import { packsOf } from './pack-format.ts';
import { chunksOfPack, dropFromPacks, PACK_COLUMNS, type PackRow, packsBelow, replacePacks } from './packs.ts';
import { type ChunkRow, chunkFromRow } from './reads.ts';

export const bytesFromBucket = (bucket: BucketId | undefined): Buffer => Buffer.from(bucket ?? '', 'hex');
export const bucketFromBytes = (bytes: Buffer): BucketId => bytes.toString('hex') as BucketId;

/** A stream whose chunks are folded, by the holder of the token. */
interface Folded {
  readonly project: ProjectId;
  readonly stream: StreamNo;
  readonly token: CompactionToken;
}

/** A write of compaction (L3): by its lease's holder, on a stream that is shown. @throws AppError STORE_FENCED */
function fold<T>(database: Database, of: Folded, work: (client: PoolClient) => Promise<T>): Promise<T> {
  return database.transaction(of.project, async (client) => {
    const { rows } = await client.query<{ is_held: boolean }>({
      name: 'sluice_lock_compacted',
      text: 'select sluice_store.lock_compacted($1, $2, $3) as is_held',
      values: [of.project, of.token, of.stream],
    });
    if (!rows[0]?.is_held) throw new AppError('STORE_FENCED', { internal: 'compaction' });
    return work(client);
  });
}

export function keyArrays(keys: readonly ChunkKey[]): unknown[] {
  const at = (i: number) => keys[i] as ChunkKey;
  return [
    keys.map((key) => bytesFromBucket(key.bucket)),
    int8Array(keys.length, (i) => at(i).position.lsn),
    int8Array(keys.length, (i) => BigInt(at(i).position.seq)),
    int8Array(keys.length, (i) => BigInt(at(i).part)),
  ];
}

/** Takes these chunks away, wherever they stand. @throws InvariantError when one is nowhere */
async function removeChunks(client: PoolClient, of: Folded, keys: readonly ChunkKey[]): Promise<void> {
  const arrays = keyArrays(keys);
  const { rows } = await client.query<{ removed: number }>({
    name: 'sluice_remove_chunks',
    text: 'select sluice_store.remove_chunks($1, $2, $3, $4, $5, $6) as removed',
    values: [of.project, of.stream, ...arrays],
  });
  let missing = keys.length - (rows[0]?.removed ?? 0);
  if (missing > 0) {
    const packs = await client.query<PackRow>({
      name: 'sluice_packs_with',
      text: `select ${PACK_COLUMNS} from sluice_store.packs_with($1, $2, $3, $4, $5, $6)`,
      values: [of.project, of.stream, ...arrays],
    });
    const removed = new Set(keys.map(textOfKey));
    missing -= await dropFromPacks(client, of, packs.rows, (chunk) => removed.has(textOfKey(chunk)));
  }
  if (missing !== 0) throw new InvariantError('chunks to be replaced are not all there');
}
function textOfKey({ bucket, position, part }: ChunkKey): string {
  return `${bucket} ${position.lsn} ${position.seq} ${part}`;
}

export function replaceChunks(
  database: Database,
  project: ProjectId,
  token: CompactionToken,
  change: { stream: StreamNo; remove: readonly ChunkKey[]; add: readonly StoredChunk[] },
): Promise<void> {
  const of = { project, token, stream: change.stream };
  return fold(database, of, async (client) => {
    if (change.remove.length > 0) await removeChunks(client, of, change.remove);
    if (change.add.length > 0) await addFolded(client, of, change.add);
  });
}

async function addFolded(client: PoolClient, of: Folded, add: readonly StoredChunk[]): Promise<void> {
  const at = (i: number) => add[i] as StoredChunk;
  const ints = (pick: (chunk: StoredChunk) => number) => int4Array(add.length, (i) => pick(at(i)));
  const offsets: number[] = [];
  let bytes = 0;
  for (const chunk of add) {
    offsets.push(bytes + 1);
    bytes += ID_BYTES + chunk.directory.length + chunk.payload.length;
  }
  await client.query({
    name: 'sluice_add_folded_chunks',
    text: 'select sluice_store.add_folded_chunks($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)',
    values: [
      of.project,
      of.stream,
      Buffer.concat(add.flatMap((chunk) => [bytesFromBucket(chunk.bucket), chunk.directory, chunk.payload])),
      int4Array(add.length, (i) => offsets[i] as number),
      ints((chunk) => chunk.directory.length),
      ints((chunk) => chunk.payload.length),
      ints((chunk) => chunk.payloadBytes),
      ints((chunk) => chunk.codec),
      ints((chunk) => chunk.ops),
      ints((chunk) => chunk.rowsDelta),
      int8Array(add.length, (i) => at(i).checksumDelta),
      int8Array(add.length, (i) => at(i).position.lsn),
      int8ArrayOfNumbers(add.length, (i) => at(i).position.seq),
      int8ArrayOfNumbers(add.length, (i) => at(i).part),
    ],
  });
}
const ID_BYTES = 16;

/** Packs that one sweep opens. */
const PACKS_PER_SWEEP = 64;

export function sweepStream(
  database: Database,
  project: ProjectId,
  token: CompactionToken,
  { stream, rowsMax }: { stream: StreamNo; rowsMax: number },
): Promise<boolean> {
  return database.transaction(project, async (client) => {
    const { rows } = await client.query<{ outcome: number; void_lsn: string | null; void_seq: string | null }>({
      name: 'sluice_sweep_stream',
      text: 'select outcome, void_lsn, void_seq from sluice_store.sweep_stream($1, $2, $3, $4)',
      values: [project, token, stream, rowsMax],
    });
    const [row] = rows;
    if (row?.outcome === 3) throw new AppError('STORE_FENCED', { internal: 'sweep' });
    if (!row || row.void_lsn === null) return true;
    const below = { lsn: lsnFromText(row.void_lsn), seq: Number(row.void_seq) };
    const of = { project, stream };
    const packs = await packsBelow(client, of, { ...below, packsMax: PACKS_PER_SWEEP });
    await dropFromPacks(client, of, packs, ({ position }) => comparePositions(position, below) < 0);
    return row.outcome === 1 && packs.length === 0;
  });
}

interface PackableRow extends ChunkRow {
  region: Buffer;
  next: Buffer | null;
}
export interface Window {
  readonly stream: StreamNo;
  readonly readFrom: Lsn;
  readonly after: BucketId | undefined;
  readonly bucketsMax: number;
}

export async function packBuckets(
  database: Database,
  project: ProjectId,
  token: CompactionToken,
  request: Window,
): Promise<{ packed: number; next: BucketId | undefined }> {
  const of = { project, token, stream: request.stream };
  return fold(database, of, async (client) => {
    const { rows } = await client.query<PackableRow>({
      name: 'sluice_packable_chunks',
      text: `select region, bucket, lsn, seq, part, ops, rows_delta, checksum_delta, codec, payload_bytes, directory, payload, next
        from sluice_store.packable_chunks($1, $2, $3, $4, $5)`,
      values: [project, request.stream, request.readFrom, bytesFromBucket(request.after), request.bucketsMax],
    });
    const found = rows.filter((row) => row.next === null);
    const next = rows.find((row) => row.next !== null)?.next;
    if (found.length > 0) await pack(client, of, found);
    return { packed: found.length, next: next ? bucketFromBytes(next) : undefined };
  });
}

/** Moves loose chunks into packs, region by region, along with those of the pack that the region begins with. */
async function pack(client: PoolClient, of: Folded, found: readonly PackableRow[]): Promise<void> {
  const chunksByRegion = new Map<string, StoredChunk[]>();
  for (const row of found) {
    const region = row.region.toString('hex');
    const known = chunksByRegion.get(region);
    const chunk = chunkFromRow({ ...row, stream: of.stream });
    if (known) known.push(chunk);
    else chunksByRegion.set(region, [chunk]);
  }
  const loose = [...chunksByRegion.values()].flat();
  const { rows: opened } = await client.query<PackRow>({
    name: 'sluice_packs_opened',
    text: `select ${PACK_COLUMNS} from sluice_store.pack where project = $1 and stream = $2 and first_bucket = any ($3)`,
    values: [of.project, of.stream, [...chunksByRegion.keys()].map((region) => Buffer.from(region, 'hex'))],
  });
  for (const row of opened) chunksByRegion.get(row.first_bucket.toString('hex'))?.push(...chunksOfPack(of.stream, row));
  await removeChunks(client, of, loose);
  const packs = (await Promise.all([...chunksByRegion.values()].map(packsOf))).flat();
  await replacePacks(client, of, { opened: opened.map((row) => row.first_bucket), packs });
}
