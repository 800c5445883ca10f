/** Brands keep one kind of number or text from being passed where another is meant. */
declare const brand: unique symbol;
export type Brand<T, Name extends string> = T & { readonly [brand]: Name };

/** A project is the tenant unit. A positive 32-bit integer, assigned by the control plane, first in every store key. */
export type ProjectId = Brand<number, 'ProjectId'>;
/** One unbroken lineage of a replication slot. Positions of different epochs are not comparable. Starts at 1. */
export type Epoch = Brand<number, 'Epoch'>;
/** One generation of one stream in one project. Never reused, so data of two generations can never mix (L11). */
export type StreamNo = Brand<number, 'StreamNo'>;
/** A worker's or replicator's hold on a source; a lower token is refused by the store (L3). */
export type LeaseToken = Brand<bigint, 'LeaseToken'>;
/** A bucket worker's hold on a shard; each taking gives a higher one, and the store refuses what a lower one writes (L3). */
export type ShardLeaseToken = Brand<bigint, 'ShardLeaseToken'>;
/** 16 bytes as 32 lower-case hex digits: a SHA-256 prefix, so tenants cannot construct collisions. */
export type BucketId = Brand<string, 'BucketId'>;
/** As BucketId, for one lookup key of one membership set. */
export type LookupId = Brand<string, 'LookupId'>;

/** @throws RangeError unless `value` is a positive 32-bit integer. */
export function parseProjectId(value: number): ProjectId {
  return positiveInt32(value, 'project id') as ProjectId;
}
/** @throws RangeError unless `value` is a positive 32-bit integer. */
export function parseEpoch(value: number): Epoch {
  return positiveInt32(value, 'epoch') as Epoch;
}
/** @throws RangeError unless `value` is a positive 32-bit integer. */
export function parseStreamNo(value: number): StreamNo {
  return positiveInt32(value, 'stream number') as StreamNo;
}

function positiveInt32(value: number, noun: string): number {
  if (!Number.isInteger(value) || value < 1 || value > 0x7fffffff)
    throw new RangeError(`${noun} out of range: ${value}`);
  return value;
}
