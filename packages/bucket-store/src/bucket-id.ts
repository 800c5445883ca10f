import { createHash } from 'node:crypto';
import type { BucketId, LookupId, StreamNo } from '@sluice/domain';

/**
 * A bucket's identity: SHA-256 over the stream generation, the disjunct and the canonical parameter bytes, first 128
 * bits. A cryptographic hash, because parameters come from rows and claims that strangers choose, and two tuples that
 * met in one bucket would be a leak (L13).
 *
 * @param key canonical parameters as a latin1 string, one character a byte
 */
export function bucketIdOf(stream: StreamNo, disjunct: number, key: string): BucketId {
  return digest('bucket', stream, disjunct, key) as BucketId;
}
/** As bucketIdOf, for one lookup key of a stream's membership set. */
export function lookupIdOf(stream: StreamNo, membership: number, key: string): LookupId {
  return digest('lookup', stream, membership, key) as LookupId;
}
function digest(kind: string, stream: StreamNo, index: number, key: string): string {
  return createHash('sha256').update(`${kind}:${stream}:${index}:`).update(key, 'latin1').digest('hex').slice(0, 32);
}
