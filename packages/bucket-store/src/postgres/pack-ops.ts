import { createHash } from 'node:crypto';
import type { ChunkWrite, MembershipWrite, SourceIssue, TruncateWrite } from '../port.ts';
import { int4Array, int8Array } from './binary-array.ts';

const ID_BYTES = 16;

/** The blob and arrays that `sluice_store.write_ops` takes (0003_write_ops.sql), in its parameters' order. */
export function packOps(chunks: readonly ChunkWrite[], members: readonly MembershipWrite[]): unknown[] {
  const values = members.map((member) => Buffer.from(member.value, 'utf8'));
  const chunkOffsets = new Int32Array(chunks.length);
  const memberOffsets = new Int32Array(members.length);
  const blob = Buffer.allocUnsafe(blobBytes(chunks, values));
  let at = 0;
  chunks.forEach((chunk, i) => {
    chunkOffsets[i] = at + 1;
    at += blob.write(chunk.bucket, at, 'hex');
    blob.set(chunk.directory, at);
    at += chunk.directory.length;
    blob.set(chunk.payload, at);
    at += chunk.payload.length;
  });
  members.forEach((member, i) => {
    memberOffsets[i] = at + 1;
    at += blob.write(member.lookup, at, 'hex');
    blob.set(rowKeyDigest(member.rowKey), at);
    at += ID_BYTES;
    const value = values[i] as Buffer;
    blob.set(value, at);
    at += value.length;
  });
  const ofChunk = (pick: (chunk: ChunkWrite) => number) =>
    int4Array(chunks.length, (i) => pick(chunks[i] as ChunkWrite));
  const ofMember = (pick: (member: MembershipWrite) => number) =>
    int4Array(members.length, (i) => pick(members[i] as MembershipWrite));
  const memberAt = (i: number) => members[i] as MembershipWrite;
  return [
    blob,
    ofChunk((chunk) => chunk.stream),
    int4Array(chunks.length, (i) => chunkOffsets[i] as number),
    ofChunk((chunk) => chunk.directory.length),
    ofChunk((chunk) => chunk.payload.length),
    ofChunk((chunk) => chunk.payloadBytes),
    ofChunk((chunk) => chunk.codec),
    ofChunk((chunk) => chunk.ops),
    ofChunk((chunk) => chunk.rowsDelta),
    int8Array(chunks.length, (i) => (chunks[i] as ChunkWrite).checksumDelta),
    ofMember((member) => member.stream),
    ofMember((member) => member.membership),
    ofMember((member) => (member.present ? 1 : 0)),
    int8Array(members.length, (i) => memberAt(i).position.lsn),
    int8Array(members.length, (i) => BigInt(memberAt(i).position.seq)),
    int4Array(members.length, (i) => memberOffsets[i] as number),
    int4Array(members.length, (i) => (values[i] as Buffer).length),
  ];
}

/** Arrays of TRUNCATEs as `sluice_store.apply_frame` takes them. */
export function packTruncates(truncates: readonly TruncateWrite[]): unknown[] {
  const at = (i: number) => truncates[i] as TruncateWrite;
  const count = truncates.length;
  return [
    int4Array(count, (i) => at(i).stream),
    int4Array(count, (i) => at(i).membership ?? OWN_TABLE),
    int8Array(count, (i) => at(i).position.lsn),
    int8Array(count, (i) => BigInt(at(i).position.seq)),
  ];
}
/** The membership number that stands for a stream's own table. */
const OWN_TABLE = -1;

/** JSON for `write_issues`, or null when there is nothing to say. */
export function packIssues(issues: readonly SourceIssue[]): string | null {
  return issues.length === 0 ? null : JSON.stringify(issues);
}

/** A membership row's identity in the store: an index cannot hold a long key. */
function rowKeyDigest(rowKey: Uint8Array): Buffer {
  return createHash('sha256').update(rowKey).digest().subarray(0, ID_BYTES);
}

function blobBytes(chunks: readonly ChunkWrite[], values: readonly Buffer[]): number {
  let bytes = 0;
  for (const chunk of chunks) bytes += ID_BYTES + chunk.directory.length + chunk.payload.length;
  for (const value of values) bytes += 2 * ID_BYTES + value.length;
  return bytes;
}
