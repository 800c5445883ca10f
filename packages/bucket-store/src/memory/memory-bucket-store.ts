import type { Clock, LeaseToken, ProjectId } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import { checkCopyPlan, checkFrameCommit, checkSnapshotCommit } from '../checks.ts';
import type { CompactionToken } from '../compaction-port.ts';
import type { BucketStore } from '../port.ts';
import * as apply from './apply.ts';
import { memoryAuditStore } from './audit.ts';
import { emptyCompaction, memoryCompactionStore } from './compaction.ts';
import * as copies from './copies.ts';
import * as generations from './generations.ts';
import { emptyProject, type ProjectState } from './project-state.ts';
import * as reads from './reads.ts';
import { reshard } from './reshard.ts';
import { readRowStates } from './row-states.ts';
import * as shardLeases from './shard-leases.ts';

/** How many issues are told, newest first. */
const ISSUES_MAX = 100;

/** The store in this process's memory, for tests: it behaves as the Postgres adapter does and forgets with the process. */
export function createMemoryBucketStore(clock: Clock): BucketStore {
  const projects = new Map<ProjectId, ProjectState>();
  const held = (project: ProjectId, token: LeaseToken): ProjectState => {
    const state = projects.get(project);
    if (!state || state.leaseToken !== token) throw new AppError('STORE_FENCED', { internal: 'lease token' });
    return state;
  };

  return {
    async acquireLease(project, holder, ttlMs) {
      const state = projects.get(project) ?? emptyProject();
      projects.set(project, state);
      const now = clock.nowMs();
      const isFree = state.leaseHolder === undefined || state.leaseHolder === holder || state.leaseExpiresAtMs <= now;
      if (!isFree) return undefined;
      state.leaseToken = (state.leaseToken + 1n) as LeaseToken;
      state.leaseHolder = holder;
      state.leaseExpiresAtMs = now + ttlMs;
      state.erased = false;
      return state.leaseToken;
    },
    async renewLease(project, token, ttlMs) {
      const state = projects.get(project);
      if (!state || state.leaseToken !== token || state.leaseHolder === undefined) return false;
      state.leaseExpiresAtMs = clock.nowMs() + ttlMs;
      return true;
    },
    async releaseLease(project, token) {
      const state = projects.get(project);
      if (state?.leaseToken === token) state.leaseHolder = undefined;
    },

    async acquireShardLease(project, shard, holder, ttlMs) {
      const state = projects.get(project) ?? { ...emptyProject(), erased: true };
      projects.set(project, state);
      return shardLeases.acquireShardLease(state, shard, { holder, nowMs: clock.nowMs(), ttlMs });
    },
    async renewShardLease(project, shard, token, ttlMs) {
      const lease = shardLeases.heldShardLease(projects.get(project), shard, token);
      if (lease) lease.expiresAtMs = clock.nowMs() + ttlMs;
      return lease !== undefined;
    },
    async releaseShardLease(project, shard, token) {
      const lease = shardLeases.heldShardLease(projects.get(project), shard, token);
      if (lease) lease.holder = undefined;
    },

    async openEpoch(project, token, identity, start, shards) {
      return generations.openEpoch(held(project, token), { identity, start, shards });
    },
    async setSourceState(project, token, condition) {
      held(project, token).condition = condition;
    },
    async readSource(project) {
      const state = projects.get(project);
      return state && !state.erased ? generations.sourceRecord(state) : undefined;
    },

    async addStreams(project, token, epoch, streams, activatedAt) {
      return generations.addStreams(held(project, token), { epoch, streams, activatedAt });
    },
    async setBackfillPoint(project, token, streams, point) {
      generations.setBackfillPoint(held(project, token), streams, point);
    },
    async planCopy(project, token, streams, plan) {
      checkCopyPlan(plan);
      copies.planCopy(held(project, token), streams, plan);
    },
    async readCopy(project, stream) {
      return copies.readCopy(projects.get(project), stream);
    },
    async resumeCopy(project, token, streams, point) {
      copies.resumeCopy(held(project, token), streams, point);
    },
    async readUnsettled(project, request) {
      return copies.readUnsettled(projects.get(project), request);
    },
    async settleCopy(project, token, settlement) {
      copies.settleCopy(held(project, token), settlement);
    },
    async switchStreams(project, token, epoch, change) {
      generations.switchStreams(held(project, token), { epoch, ...change });
    },
    async reshard(project, token, epoch, change) {
      return reshard(held(project, token), { epoch, ...change });
    },
    async holdCheckpoints(project, token, epoch, hold) {
      generations.liveEpoch(held(project, token), epoch).held = hold;
    },
    async readStreams(project) {
      const streams = [...(projects.get(project)?.streams.values() ?? [])];
      return streams.filter((stream) => !stream.erasing).map(generations.streamRecord);
    },
    async eraseDropped(project, rowsMax) {
      const state = projects.get(project);
      return state === undefined || generations.eraseDropped(state, rowsMax);
    },

    async applyFrame(commit) {
      checkFrameCommit(commit);
      return apply.applyFrame(projects.get(commit.project), commit);
    },
    async applySnapshotPart(commit) {
      checkSnapshotCommit(commit);
      return apply.applySnapshotPart(projects.get(commit.project), commit);
    },

    async readRowStates(project, request) {
      return readRowStates(projects.get(project), request);
    },

    async readCheckpoint(project) {
      const epochs = [...(projects.get(project)?.epochs.values() ?? [])];
      return epochs.find((epoch) => epoch.state === 'serving')?.checkpoint;
    },
    async readChunks(project, request) {
      return reads.readChunks(projects.get(project), request);
    },
    async readSums(project, buckets, through) {
      return reads.readSums(projects.get(project), buckets, through);
    },
    async readMembership(project, lookups, through) {
      return reads.readMembership(projects.get(project), lookups, through);
    },
    async readMembershipTouched(project, lookups, after, through) {
      return reads.readMembershipTouched(projects.get(project), lookups, { after, through });
    },
    async readTruncated(project, streams, after, through) {
      return reads.readTruncated(projects.get(project), streams, { after, through });
    },
    async readIssues(project) {
      return [...(projects.get(project)?.issues.values() ?? [])].reverse().slice(0, ISSUES_MAX);
    },
    async eraseProject(project) {
      const state = projects.get(project);
      if (!state) return;
      const { leaseToken, nextEpoch, nextStream } = state;
      const kept = { leaseToken: (leaseToken + 1n) as LeaseToken, nextEpoch, nextStream, erased: true };
      const compaction = { ...emptyCompaction(), token: (state.compaction.token + 1n) as CompactionToken };
      const leases = { shardLeases: shardLeases.endedShardLeases(state), compaction };
      projects.set(project, { ...emptyProject(), ...kept, ...leases });
    },
    ...memoryAuditStore((project) => projects.get(project), held),
    ...memoryCompactionStore(clock, (project) => projects.get(project)),
    async close() {},
  };
}
