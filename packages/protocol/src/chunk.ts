import {
  ByteReader,
  type ByteWriter,
  type Lsn,
  lsnFromBigint,
  MalformedBytesError,
  type Position,
} from '@sluice/domain';

/**
 * Chunk format, version 1 (L8). A chunk holds the newest op per row of one bucket in one frame. It is immutable.
 *
 * Payload: per op, u8 kind, varint body length, body. A put's body is the encoded row (cells, key columns first), a
 * remove's body is the encoded key alone. The payload is what clients receive, stored or deflated; bytes are sliced
 * and forwarded, never encoded again.
 * Directory (server only, never compressed): u8 version, varint op count, u64 base LSN, then per op: u64 row-key hash,
 * varint LSN minus base, varint seq, varint key length. Kinds and body lengths stand in the payload.
 */
export const CHUNK_VERSION = 1;
export const OP_REMOVE = 0;
export const OP_PUT = 1;
export const CODEC_STORED = 0;
/** RFC 1951, what DecompressionStream calls `deflate-raw`. */
export const CODEC_DEFLATE_RAW = 1;
/** Upper bound of one uncompressed payload; a larger frame or bucket is split. Bytes. */
export const CHUNK_PAYLOAD_BYTES_MAX = 4 * 1024 * 1024;
/** A row whose encoding is larger is left out, reported as ROW_TOO_LARGE, and the stream goes on. Bytes. */
export const ROW_BYTES_MAX = 1024 * 1024;

export type OpKind = typeof OP_REMOVE | typeof OP_PUT;
export type ChunkCodec = typeof CODEC_STORED | typeof CODEC_DEFLATE_RAW;

export function appendOp(out: ByteWriter, kind: OpKind, source: Uint8Array, start: number, end: number): void {
  out.u8(kind);
  out.varint(end - start);
  out.raw(source, start, end);
}

/** Visits each op of an uncompressed payload; `start` and `end` bound the body. @throws MalformedBytesError */
export function forEachOp(payload: Uint8Array, visit: (kind: OpKind, start: number, end: number) => void): number {
  const reader = new ByteReader(payload);
  let count = 0;
  while (reader.remaining > 0) {
    const kind = reader.u8();
    if (kind !== OP_PUT && kind !== OP_REMOVE) throw new MalformedBytesError('unknown op kind');
    const length = reader.varint();
    const start = reader.at;
    reader.skip(length);
    visit(kind, start, reader.at);
    count++;
  }
  return count;
}

export interface DirectoryEntry {
  readonly keyHash: bigint;
  readonly position: Position;
  readonly keyBytes: number;
}

export function writeDirectoryHead(out: ByteWriter, count: number, baseLsn: Lsn): void {
  out.u8(CHUNK_VERSION);
  out.varint(count);
  out.u64(baseLsn);
}
export function appendDirectoryEntry(
  out: ByteWriter,
  entry: { hashLo: number; hashHi: number; lsnDelta: number; seq: number; keyBytes: number },
): void {
  out.u32(entry.hashLo);
  out.u32(entry.hashHi);
  out.varint(entry.lsnDelta);
  out.varint(entry.seq);
  out.varint(entry.keyBytes);
}

/**
 * Visits each entry without making objects: the two halves of the row-key hash, and the length of the key that the op's
 * body begins with. Returns how many there are. @throws MalformedBytesError
 */
export function forEachDirectoryEntry(
  bytes: Uint8Array,
  visit: (hashLo: number, hashHi: number, keyBytes: number, index: number) => void,
): number {
  const reader = new ByteReader(bytes);
  if (reader.u8() !== CHUNK_VERSION) throw new MalformedBytesError('unknown chunk version');
  const count = reader.varint();
  reader.u64();
  for (let i = 0; i < count; i++) {
    const hashLo = reader.u32();
    const hashHi = reader.u32();
    reader.varint();
    reader.varint();
    visit(hashLo, hashHi, reader.varint(), i);
  }
  reader.finish();
  return count;
}

/** The LSN that a directory counts from; its first bytes are enough. @throws MalformedBytesError */
export function readDirectoryBase(bytes: Uint8Array): Lsn {
  const reader = new ByteReader(bytes);
  if (reader.u8() !== CHUNK_VERSION) throw new MalformedBytesError('unknown chunk version');
  reader.varint();
  return lsnFromBigint(reader.u64());
}

/** @throws MalformedBytesError */
export function readDirectory(bytes: Uint8Array): DirectoryEntry[] {
  const reader = new ByteReader(bytes);
  if (reader.u8() !== CHUNK_VERSION) throw new MalformedBytesError('unknown chunk version');
  const count = reader.varint();
  if (count > bytes.length) throw new MalformedBytesError('impossible op count');
  const base = reader.u64();
  const entries: DirectoryEntry[] = [];
  for (let i = 0; i < count; i++) {
    const keyHash = reader.u64();
    const lsn = lsnFromBigint(base + BigInt(reader.varint()));
    const seq = reader.varint();
    entries.push({ keyHash, position: { lsn, seq }, keyBytes: reader.varint() });
  }
  reader.finish();
  return entries;
}
