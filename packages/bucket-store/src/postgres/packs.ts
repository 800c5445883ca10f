import type { BucketId, Lsn, ProjectId, StreamNo } from '@sluice/domain';
import { InvariantError } from '@sluice/errors';
import { type ChunkCodec, readDirectoryBase } from '@sluice/protocol';
import type { PoolClient } from 'pg';
import type { StoredChunk } from '../port.ts';
import { int4Array, int8Array, int8ArrayOfNumbers } from './binary-array.ts';
import { lsnFromText } from './frames.ts';
import { contentOf, openBody, type Pack, type PackedChunk, packsOf } from './pack-format.ts';

const ID_BYTES = 16;

/** A row of `sluice_store.pack`. */
export interface PackRow {
  first_bucket: Buffer;
  buckets: Buffer;
  lsns: string[];
  seqs: string[];
  parts: string[];
  checksum_deltas: string[];
  rows_deltas: number[];
  ops: number[];
  payload_bytes: number[];
  codecs: number[];
  starts: number[];
  directory_bytes: number[];
  stored_bytes: number[];
  body: Buffer;
  format: number;
}
export const PACK_COLUMNS = `first_bucket, buckets, lsns, seqs, parts, checksum_deltas, rows_deltas, ops, payload_bytes, codecs,
  starts, directory_bytes, stored_bytes, body, format`;

/** The chunks of a pack, in order. @throws InvariantError for a pack that no store wrote */
export function chunksOfPack(stream: StreamNo, pack: PackRow): StoredChunk[] {
  const body = openBody(pack.format, pack.body);
  return pack.lsns.map((lsn, i) => {
    const of = <T>(column: readonly T[]): T => {
      const value = column[i];
      if (value === undefined) throw new InvariantError('a pack says too little of a chunk');
      return value;
    };
    const bucket = pack.buckets.toString('hex', i * ID_BYTES, (i + 1) * ID_BYTES) as BucketId;
    const [directoryBytes, storedBytes] = [of(pack.directory_bytes), of(pack.stored_bytes)];
    return {
      stream,
      bucket,
      position: { lsn: lsnFromText(lsn), seq: Number(of(pack.seqs)) },
      part: Number(of(pack.parts)),
      ops: of(pack.ops),
      rowsDelta: of(pack.rows_deltas),
      checksumDelta: BigInt.asUintN(64, BigInt(of(pack.checksum_deltas))),
      codec: of(pack.codecs) as ChunkCodec,
      payloadBytes: of(pack.payload_bytes),
      ...contentOf(body, { start: of(pack.starts) - 1, directoryBytes, storedBytes }),
    };
  });
}

/** Within a transaction that has locked what is compacted: `opened` go, by their first bucket, and `packs` come. */
export async function replacePacks(
  client: PoolClient,
  of: { readonly project: ProjectId; readonly stream: StreamNo },
  change: { readonly opened: readonly Buffer[]; readonly packs: readonly Pack[] },
): Promise<void> {
  const { opened, packs } = change;
  if (opened.length === 0 && packs.length === 0) return;
  await client.query({
    name: 'sluice_replace_packs',
    text: `select sluice_store.replace_packs(
      $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)`,
    values: [of.project, of.stream, opened, ...packArrays(packs)],
  });
}

function packArrays(packs: readonly Pack[]): unknown[] {
  const pieces: Buffer[] = [];
  const offsets: number[] = [];
  let bytes = 0;
  for (const { chunks, body } of packs) {
    offsets.push(bytes + 1);
    const ids = Buffer.from(chunks.map(({ chunk }) => chunk.bucket).join(''), 'hex');
    pieces.push(ids, body);
    bytes += ids.length + body.length;
  }
  const entries = packs.flatMap(({ chunks }) => chunks);
  const at = (i: number) => entries[i] as PackedChunk;
  const packAt = (i: number) => packs[i] as Pack;
  const ints = (pick: (chunk: StoredChunk) => number) => int4Array(entries.length, (i) => pick(at(i).chunk));
  const longs = (pick: (chunk: StoredChunk) => bigint) => int8Array(entries.length, (i) => pick(at(i).chunk));
  const safeLongs = (pick: (chunk: StoredChunk) => number) =>
    int8ArrayOfNumbers(entries.length, (i) => pick(at(i).chunk));
  return [
    Buffer.concat(pieces),
    int4Array(packs.length, (i) => offsets[i] as number),
    int4Array(packs.length, (i) => packAt(i).chunks.length),
    int4Array(packs.length, (i) => packAt(i).body.length),
    longs((chunk) => chunk.position.lsn),
    safeLongs((chunk) => chunk.position.seq),
    safeLongs((chunk) => chunk.part),
    longs((chunk) => chunk.checksumDelta),
    ints((chunk) => chunk.rowsDelta),
    ints((chunk) => chunk.ops),
    ints((chunk) => chunk.payloadBytes),
    ints((chunk) => chunk.codec),
    longs((chunk) => readDirectoryBase(chunk.directory)),
    int4Array(entries.length, (i) => at(i).start + 1),
    ints((chunk) => chunk.directory.length),
    ints((chunk) => chunk.payload.length),
  ];
}

/**
 * Takes chunks out of packs, within a transaction that has locked what is compacted; their bytes go, too. Says how many.
 */
export async function dropFromPacks(
  client: PoolClient,
  of: { readonly project: ProjectId; readonly stream: StreamNo },
  packs: readonly PackRow[],
  isDropped: (chunk: StoredChunk) => boolean,
): Promise<number> {
  let dropped = 0;
  const written: Pack[] = [];
  for (const pack of packs) {
    const chunks = chunksOfPack(of.stream, pack);
    const kept = chunks.filter((chunk) => !isDropped(chunk));
    dropped += chunks.length - kept.length;
    written.push(...(await packsOf(kept)));
  }
  await replacePacks(client, of, { opened: packs.map((pack) => pack.first_bucket), packs: written });
  return dropped;
}

/** Packs that hold chunks below a position, at most so many. */
export async function packsBelow(
  client: PoolClient,
  of: { readonly project: ProjectId; readonly stream: StreamNo },
  below: { readonly lsn: Lsn; readonly seq: number; readonly packsMax: number },
): Promise<PackRow[]> {
  const { rows } = await client.query<PackRow>({
    name: 'sluice_packs_below',
    text: `select ${PACK_COLUMNS} from sluice_store.packs_below($1, $2, $3, $4, $5)`,
    values: [of.project, of.stream, below.lsn, below.seq, below.packsMax],
  });
  return rows;
}
