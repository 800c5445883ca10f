export * from './bucket-id.ts';
export type { HeldLease, LeaseOptions } from './held-lease.ts';
export { waitForLease, waitForShardLease } from './held-lease.ts';
export { createMemoryBucketStore } from './memory/memory-bucket-store.ts';
export * from './port.ts';
export type { PostgresBucketStoreOptions } from './postgres/database.ts';
export { createPostgresBucketStore } from './postgres/postgres-bucket-store.ts';
export * from './row-state.ts';
export { migrateBucketStore } from './sql/migrate.ts';
