import { deflateRawSync } from 'node:zlib';
import type { ChunkWrite, MembershipWrite } from '@sluice/bucket-store';
import {
  type BucketId,
  ByteWriter,
  Checksum,
  Hash64,
  type Lsn,
  type Position,
  rowHash,
  type StreamNo,
  writeCell,
} from '@sluice/domain';
import {
  appendDirectoryEntry,
  appendOp,
  CODEC_DEFLATE_RAW,
  CODEC_STORED,
  OP_PUT,
  OP_REMOVE,
  writeDirectoryHead,
} from '@sluice/protocol';

import { bucketsOfDoc, type Doc, encodeDoc, lookupOfUser, type Member, pieceOf, seed } from './docs-rules.ts';

interface PendingOp {
  readonly position: Position;
  readonly key: Uint8Array;
  readonly row: Uint8Array | undefined;
}
interface PendingBucket {
  ops: Map<string, PendingOp>;
  readonly checksum: Checksum;
  rowsDelta: number;
}

/** What a worker makes of a frame. */
export class Draft {
  readonly buckets = new Map<BucketId, PendingBucket>();
  memberships: MembershipWrite[] = [];
  readonly truncates: { stream: StreamNo; membership: number | undefined; position: Position }[] = [];
  private readonly stream: StreamNo;

  constructor(stream: StreamNo) {
    this.stream = stream;
  }

  doc(id: number, old: Doc | undefined, next: Doc | undefined, position: Position): void {
    const before = old ? bucketsOfDoc(this.stream, old) : [];
    const after = next ? bucketsOfDoc(this.stream, next) : [];
    const oldRow = old && encodeDoc(id, old);
    const newRow = next && encodeDoc(id, next);
    for (const bucket of before) {
      if (!oldRow) continue;
      const key = oldRow.row.slice(0, oldRow.keyBytes);
      this.count(bucket, oldRow.row, -1);
      if (!after.includes(bucket)) this.op(bucket, { position, key, row: undefined });
    }
    for (const bucket of after) {
      if (!newRow) continue;
      this.count(bucket, newRow.row, 1);
      this.op(bucket, { position, key: newRow.row.slice(0, newRow.keyBytes), row: newRow.row });
    }
  }

  member(id: number, old: Member | undefined, next: Member | undefined, position: Position): void {
    const out = new ByteWriter(16);
    writeCell(out, id);
    const rowKey = out.take();
    const write = (member: Member, present: boolean, offset: number) =>
      this.memberships.push({
        stream: this.stream,
        membership: 0,
        lookup: lookupOfUser(this.stream, member.user),
        position: { lsn: position.lsn, seq: position.seq + offset },
        rowKey,
        value: pieceOf(member.team),
        present,
      });
    if (old && next && old.user === next.user && old.team === next.team) return;
    if (old) write(old, false, 0);
    if (next) write(next, true, old ? 1 : 0);
  }

  truncateDocs(position: Position): void {
    this.buckets.clear();
    this.truncates.push({ stream: this.stream, membership: undefined, position });
  }
  truncateMembers(position: Position): void {
    this.truncates.push({ stream: this.stream, membership: 0, position });
  }

  chunks(endLsn: Lsn): ChunkWrite[] {
    return [...this.buckets].map(([bucket, { ops, checksum, rowsDelta }]) => {
      const payload = new ByteWriter(1024);
      const directory = new ByteWriter(256);
      const hash = new Hash64();
      const list = [...ops.values()];
      const base = list.reduce((lowest, op) => (op.position.lsn < lowest ? op.position.lsn : lowest), endLsn);
      writeDirectoryHead(directory, list.length, base);
      for (const { position, key, row } of list) {
        const body = row ?? key;
        appendOp(payload, row ? OP_PUT : OP_REMOVE, body, 0, body.length);
        hash.update(key, new DataView(key.buffer, key.byteOffset, key.byteLength), 0, key.length, 0);
        const lsnDelta = Number(position.lsn - base);
        appendDirectoryEntry(directory, {
          hashLo: hash.lo,
          hashHi: hash.hi,
          lsnDelta,
          seq: position.seq,
          keyBytes: key.length,
        });
      }
      const stored = payload.take();
      const isDeflated = stored.length > 200;
      return {
        stream: this.stream,
        bucket,
        ops: list.length,
        rowsDelta,
        checksumDelta: checksum.toBigint(),
        codec: isDeflated ? CODEC_DEFLATE_RAW : CODEC_STORED,
        payloadBytes: stored.length,
        directory: directory.take(),
        payload: isDeflated ? new Uint8Array(deflateRawSync(stored, { level: 1 })) : stored,
      };
    });
  }

  private bucket(bucket: BucketId): PendingBucket {
    const known = this.buckets.get(bucket);
    if (known) return known;
    const fresh = { ops: new Map<string, PendingOp>(), checksum: new Checksum(), rowsDelta: 0 };
    this.buckets.set(bucket, fresh);
    return fresh;
  }
  private op(bucket: BucketId, op: PendingOp): void {
    const { ops } = this.bucket(bucket);
    const key = Buffer.from(op.key).toString('hex');
    ops.delete(key);
    ops.set(key, op);
  }
  private count(bucket: BucketId, row: Uint8Array, sign: 1 | -1): void {
    const pending = this.bucket(bucket);
    const hash = rowHash(seed, row);
    const lo = Number(hash & 0xffffffffn);
    const hi = Number(hash >> 32n);
    if (sign > 0) pending.checksum.add(lo, hi);
    else pending.checksum.subtract(lo, hi);
    pending.rowsDelta += sign;
  }
}
