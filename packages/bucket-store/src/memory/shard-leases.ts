import type { ShardLeaseToken } from '@sluice/domain';
import type { ProjectState, ShardLease } from './project-state.ts';

const NEVER_LEASED = 0n as ShardLeaseToken;

export function acquireShardLease(
  project: ProjectState,
  shard: number,
  request: { readonly holder: string; readonly nowMs: number; readonly ttlMs: number },
): ShardLeaseToken | undefined {
  const { holder, nowMs, ttlMs } = request;
  const lease: ShardLease = project.shardLeases.get(shard) ?? {
    token: NEVER_LEASED,
    holder: undefined,
    expiresAtMs: 0,
  };
  const isFree = lease.holder === undefined || lease.holder === holder || lease.expiresAtMs <= nowMs;
  if (!isFree) return undefined;
  const token = (lease.token + 1n) as ShardLeaseToken;
  project.shardLeases.set(shard, { token, holder, expiresAtMs: nowMs + ttlMs });
  return token;
}

/** The lease, when the token is its holder's. */
export function heldShardLease(
  project: ProjectState | undefined,
  shard: number,
  token: ShardLeaseToken,
): ShardLease | undefined {
  const lease = project?.shardLeases.get(shard);
  return lease?.token === token && lease.holder !== undefined ? lease : undefined;
}

/** Whether nobody has taken the shard since the token was given (L3); as the tables have it, 0 before anybody did. */
export function isShardLeaseCurrent(project: ProjectState, shard: number, token: ShardLeaseToken): boolean {
  return (project.shardLeases.get(shard)?.token ?? NEVER_LEASED) === token;
}

/** The leases of an erased project: nobody holds one, and no token is given twice. */
export function endedShardLeases(project: ProjectState): ProjectState['shardLeases'] {
  const ended = [...project.shardLeases].map(([shard, { token }]): [number, ShardLease] => [
    shard,
    { token: (token + 1n) as ShardLeaseToken, holder: undefined, expiresAtMs: 0 },
  ]);
  return new Map(ended);
}
