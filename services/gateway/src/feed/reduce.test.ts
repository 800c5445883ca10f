import type { BucketRef, StoredChunk } from '@sluice/bucket-store';
import {
  type BucketId,
  ByteReader,
  ByteWriter,
  Hash64,
  type Lsn,
  type StreamNo,
  skipCell,
  writeCell,
} from '@sluice/domain';
import {
  appendDirectoryEntry,
  appendOp,
  CODEC_STORED,
  forEachOp,
  OP_PUT,
  OP_REMOVE,
  writeDirectoryHead,
} from '@sluice/protocol';
import { type SeededRandom, seededRandom } from '@sluice/testkit';
import { describe, expect, it } from 'vitest';
import { type EncodedPayload, inflated } from '../payload.ts';
import type { ReadBucketPage } from './read-chunks.ts';
import { type PackedOps, readReducedPage, reduceBucket } from './reduce.ts';

const ref: BucketRef = { stream: 1 as StreamNo, bucket: '00'.repeat(16) as BucketId };
const span = { after: 0n as Lsn, through: 9_999n as Lsn };
const CHUNKS_PER_PAGE = 3;

interface Op {
  readonly key: number;
  /** Undefined for a removal. */
  readonly body: string | undefined;
}

function chunkOf(ops: readonly Op[], lsn: number): StoredChunk {
  const payload = new ByteWriter(256);
  const directory = new ByteWriter(256);
  writeDirectoryHead(directory, ops.length, BigInt(lsn) as Lsn);
  const hash = new Hash64();
  for (const { key, body } of ops) {
    const row = new ByteWriter(64);
    writeCell(row, key);
    const keyBytes = row.length;
    if (body !== undefined) writeCell(row, body);
    hash.update(row.bytes, row.view, 0, keyBytes, 0);
    appendOp(payload, body === undefined ? OP_REMOVE : OP_PUT, row.bytes, 0, row.length);
    appendDirectoryEntry(directory, { hashLo: hash.lo, hashHi: hash.hi, lsnDelta: 0, seq: 1, keyBytes });
  }
  return {
    ...ref,
    position: { lsn: BigInt(lsn) as Lsn, seq: 1 },
    part: 0,
    ops: ops.length,
    rowsDelta: 0,
    checksumDelta: 0n,
    codec: CODEC_STORED,
    payloadBytes: payload.length,
    directory: directory.take(),
    payload: payload.take(),
  };
}

/** A bucket in pages of three chunks. */
function readerOf(chunks: readonly StoredChunk[]): ReadBucketPage {
  return async (_ref, _span, cursor) => {
    const from = Number(cursor ?? 0);
    const next = from + CHUNKS_PER_PAGE < chunks.length ? String(from + CHUNKS_PER_PAGE) : undefined;
    return { chunks: chunks.slice(from, from + CHUNKS_PER_PAGE), next };
  };
}
async function bodiesOf(packs: readonly PackedOps[]): Promise<string[]> {
  const bodies: string[] = [];
  for (const pack of packs) {
    const ops = await inflated(pack);
    const count = forEachOp(ops, (kind, start, end) => {
      expect(kind).toBe(OP_PUT);
      bodies.push(Buffer.from(ops.subarray(start, end)).toString('hex'));
    });
    expect(count).toBe(pack.ops);
  }
  return bodies;
}
/** Each op as its kind and body, with the key that it starts with. */
async function opsOf(packs: readonly EncodedPayload[]): Promise<{ key: string; text: string }[]> {
  const ops: { key: string; text: string }[] = [];
  for (const pack of packs) {
    const payload = await inflated(pack);
    forEachOp(payload, (kind, start, end) => {
      const key = new ByteReader(payload, start, end);
      skipCell(key);
      const hex = (to: number): string => Buffer.from(payload.subarray(start, to)).toString('hex');
      ops.push({ key: hex(key.at), text: `${kind} ${hex(end)}` });
    });
  }
  return ops;
}
const slice = <T>(work: () => Promise<T>): Promise<T> => work();

function randomChunks(random: SeededRandom): { chunks: StoredChunk[]; rows: Map<number, string> } {
  const rows = new Map<number, string>();
  const chunks = Array.from({ length: random.int(1, 20) }, (_, i) => {
    const keys = new Set(Array.from({ length: random.int(1, 60) }, () => random.int(0, 300)));
    const ops = [...keys].map((key): Op => ({ key, body: random.chance(0.8) ? `body ${i} of ${key}` : undefined }));
    for (const { key, body } of ops)
      if (body === undefined) rows.delete(key);
      else rows.set(key, body);
    return chunkOf(ops, i + 1);
  });
  return { chunks, rows };
}
function encoded(key: number, body: string): string {
  const row = new ByteWriter(64);
  writeCell(row, key);
  writeCell(row, body);
  return Buffer.from(row.take()).toString('hex');
}

describe('reducing a bucket', () => {
  it('L13, L16: gives each live row once, however few rows may be looked at in one pass', async () => {
    const random = seededRandom();
    for (let round = 0; round < 30; round++) {
      const { chunks, rows } = randomChunks(random);
      const read = readerOf(chunks);
      const rowsPerPassMax = random.pick([10, 50, 1000]);
      const reduction = await reduceBucket({ read, ref, span, rows: rows.size, slice, rowsPerPassMax });
      expect(reduction.ops).toBe(rows.size);
      const found: string[] = [];
      if (reduction.kind === 'whole') found.push(...(await bodiesOf(reduction.packs)));
      else
        for (let cursor: string | undefined, isFirst = true; isFirst || cursor !== undefined; isFirst = false) {
          const page = await readReducedPage(read, ref, reduction, cursor);
          found.push(...(await bodiesOf(page.packs)));
          cursor = page.next;
        }
      expect(found.sort()).toEqual([...rows].map(([key, body]) => encoded(key, body)).sort());
    }
  });

  it('L13: gives of a stretch of changes, from any page on, the newest op of each row in the order of the ops', async () => {
    const random = seededRandom();
    for (let round = 0; round < 30; round++) {
      const { chunks } = randomChunks(random);
      const read = readerOf(chunks);
      const firstChunk = random.int(0, Math.floor((chunks.length - 1) / CHUNKS_PER_PAGE)) * CHUNKS_PER_PAGE;
      const from = firstChunk === 0 ? undefined : String(firstChunk);
      const rowsPerPassMax = random.pick([10, 50, 1000]);
      const reduction = await reduceBucket({ read, ref, span, rows: 0, slice, rowsPerPassMax, stretch: { from } });
      const packs: PackedOps[] = reduction.kind === 'whole' ? [...reduction.packs] : [];
      for (let cursor = from, isMore = reduction.kind === 'paged'; isMore && reduction.kind === 'paged'; ) {
        const page = await readReducedPage(read, ref, reduction, cursor);
        packs.push(...page.packs);
        cursor = page.next;
        isMore = cursor !== undefined;
      }
      const newest = new Map<string, string>();
      for (const op of await opsOf(chunks.slice(firstChunk))) {
        newest.delete(op.key);
        newest.set(op.key, op.text);
      }
      expect((await opsOf(packs)).map(({ text }) => text)).toEqual([...newest.values()]);
    }
  });

  it('a bucket that is rewritten between two passes is not put together from both', async () => {
    const chunks = [chunkOf([{ key: 1, body: 'a' }], 1), chunkOf([{ key: 2, body: 'b' }], 2)];
    const rewritten = [
      chunkOf(
        [
          { key: 1, body: 'a' },
          { key: 2, body: 'b' },
          { key: 3, body: 'c' },
        ],
        2,
      ),
    ];
    let reads = 0;
    const read: ReadBucketPage = (...given) => readerOf(reads++ === 0 ? chunks : rewritten)(...given);
    const reducing = reduceBucket({ read, ref, span, rows: 2, slice, rowsPerPassMax: 1 });
    await expect(reducing).rejects.toMatchObject({ code: 'SESSION_RESTART' });
  });
});
