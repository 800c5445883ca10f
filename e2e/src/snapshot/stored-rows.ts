import { inflateRawSync } from 'node:zlib';
import { type BucketStore, bucketIdOf, type StreamRecord } from '@sluice/bucket-store';
import {
  ByteReader,
  ByteWriter,
  type CellValue,
  comparePositions,
  type Lsn,
  type Position,
  type ProjectId,
  readCell,
  rowHash,
  tableSeed,
} from '@sluice/domain';
import { appendParamText } from '@sluice/pg-values';
import { CODEC_DEFLATE_RAW, forEachOp, OP_PUT, readDirectory } from '@sluice/protocol';
import type { StreamPlan } from '@sluice/sync-rules';

interface Op {
  readonly position: Position;
  /** Undefined when the row went. */
  readonly row: { readonly cells: CellValue[]; readonly hash: bigint } | undefined;
}

/** The key of a bucket with one text parameter, as the rules engine writes it. */
export function bucketKey(text: string): string {
  const out = new ByteWriter();
  appendParamText(out, 'text', text);
  return Buffer.from(out.take()).toString('latin1');
}

/**
 * The rows of a stream's bucket at a checkpoint, by the newest op of each; their number and checksum must be those that the store
 * tells (L9).
 */
export async function storedRows(
  store: BucketStore,
  project: ProjectId,
  reads: { readonly stream: StreamRecord; readonly key: string; readonly through: Lsn },
): Promise<CellValue[][]> {
  const { stream, through } = reads;
  const bucket = bucketIdOf(stream.stream, 0, reads.key);
  const ref = { stream: stream.stream, bucket };
  const newest = new Map<string, Op>();
  const seed = tableSeed((stream.plan as StreamPlan).table.name);
  let cursor: string | undefined;
  do {
    const page = await store.readChunks(project, {
      buckets: [ref],
      after: 0n as Lsn,
      through,
      bytesMax: 8 << 20,
      cursor,
    });
    for (const chunk of page.chunks) {
      const payload = chunk.codec === CODEC_DEFLATE_RAW ? inflateRawSync(chunk.payload) : chunk.payload;
      const entries = readDirectory(chunk.directory);
      let index = 0;
      forEachOp(payload, (kind, start, end) => {
        const entry = entries[index++];
        if (!entry) throw new Error('an op without directory entry');
        const body = payload.subarray(start, end);
        const key = Buffer.from(body.subarray(0, entry.keyBytes)).toString('hex');
        const known = newest.get(key);
        if (known && comparePositions(known.position, entry.position) > 0) return;
        const row = kind === OP_PUT ? { cells: cellsOf(body), hash: rowHash(seed, body) } : undefined;
        newest.set(key, { position: entry.position, row });
      });
    }
    cursor = page.next;
  } while (cursor !== undefined);
  const rows = [...newest.values()].flatMap(({ row }) => row ?? []);
  const told = (await store.readSums(project, [ref], through)).get(bucket) ?? { rows: 0, checksum: 0n };
  const checksum = BigInt.asUintN(
    64,
    rows.reduce((sum, { hash }) => sum + hash, 0n),
  );
  if (told.rows !== rows.length) throw new Error(`the store tells ${told.rows} rows of ${rows.length}`);
  if (told.checksum !== checksum) throw new Error('the store tells another checksum');
  return rows.map(({ cells }) => cells);
}

function cellsOf(body: Uint8Array): CellValue[] {
  const reader = new ByteReader(body);
  const cells: CellValue[] = [];
  while (reader.remaining > 0) cells.push(readCell(reader));
  return cells;
}
