import type { BucketStore } from '../port.ts';
import { auditStoreOf } from './audit.ts';
import { compactionStoreOf } from './compaction.ts';
import * as copies from './copies.ts';
import { Database, type PostgresBucketStoreOptions } from './database.ts';
import * as epochs from './epochs.ts';
import * as erase from './erase.ts';
import * as frames from './frames.ts';
import { giveBackSpace } from './give-back.ts';
import * as leases from './leases.ts';
import * as reads from './reads.ts';
import { reshard } from './reshard.ts';
import { readRowStates } from './row-states.ts';
import * as shardLeases from './shard-leases.ts';
import * as streams from './streams.ts';

/**
 * The store on a Postgres database that `migrateBucketStore` has prepared. It must not be in a cluster that is also a
 * source: that one's slot would decode the store's own writes.
 */
export function createPostgresBucketStore(options: PostgresBucketStoreOptions): BucketStore {
  const database = new Database(options);
  return {
    acquireLease: (project, holder, ttlMs) => leases.acquireLease(database, project, holder, ttlMs),
    renewLease: (project, token, ttlMs) => leases.renewLease(database, project, token, ttlMs),
    releaseLease: (project, token) => leases.releaseLease(database, project, token),
    acquireShardLease: (project, shard, holder, ttlMs) =>
      shardLeases.acquireShardLease(database, project, { shard, holder, ttlMs }),
    renewShardLease: (project, shard, token, ttlMs) =>
      shardLeases.renewShardLease(database, project, { shard, token, ttlMs }),
    releaseShardLease: (project, shard, token) => shardLeases.releaseShardLease(database, project, { shard, token }),
    openEpoch: (project, token, identity, start, shards) =>
      epochs.openEpoch(database, project, { token, identity, start, shards }),
    setSourceState: (project, token, state) => leases.setSourceState(database, project, token, state),
    readSource: (project) => epochs.readSource(database, project),
    addStreams: (project, token, epoch, added, activatedAt) =>
      streams.addStreams(database, project, token, { epoch, streams: added, activatedAt }),
    setBackfillPoint: (project, token, copied, point) =>
      streams.setBackfillPoint(database, project, token, { streams: copied, point }),
    planCopy: (project, token, copied, plan) => copies.planCopy(database, project, token, { streams: copied, plan }),
    readCopy: (project, stream) => copies.readCopy(database, project, stream),
    resumeCopy: (project, token, copied, point) =>
      copies.resumeCopy(database, project, token, { streams: copied, point }),
    readUnsettled: (project, request) => copies.readUnsettled(database, project, request),
    settleCopy: (project, token, settlement) => copies.settleCopy(database, project, token, settlement),
    switchStreams: (project, token, epoch, change) =>
      streams.switchStreams(database, project, token, { epoch, ...change }),
    reshard: (project, token, epoch, change) => reshard(database, project, { token, epoch, ...change }),
    holdCheckpoints: (project, token, epoch, hold) => epochs.holdCheckpoints(database, project, token, { epoch, hold }),
    readStreams: (project) => streams.readStreams(database, project),
    eraseDropped: (project, rowsMax) => erase.eraseDropped(database, project, rowsMax),
    applyFrame: (commit) => frames.applyFrame(database, commit),
    applySnapshotPart: (commit) => frames.applySnapshotPart(database, commit),
    readRowStates: (project, request) => readRowStates(database, project, request),
    readCheckpoint: (project) => reads.readCheckpoint(database, project),
    readChunks: (project, request) => reads.readChunks(database, project, request),
    readSums: (project, buckets, through) => reads.readSums(database, project, buckets, through),
    readMembership: (project, lookups, through) => reads.readMembership(database, project, lookups, through),
    readMembershipTouched: (project, lookups, after, through) =>
      reads.readMembershipTouched(database, project, lookups, { after, through }),
    readTruncated: (project, named, after, through) =>
      reads.readTruncated(database, project, named, { after, through }),
    readIssues: (project) => reads.readIssues(database, project),
    eraseProject: (project) => erase.eraseProject(database, project),
    ...auditStoreOf(database),
    ...compactionStoreOf(database),
    giveBackSpace: (signal) => giveBackSpace(options.url, signal),
    close: () => database.close(),
  };
}
