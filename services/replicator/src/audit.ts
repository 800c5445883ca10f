import type { EpochRecord, StreamRecord } from '@sluice/bucket-store';
import { delay, formatLsn, type Lsn, type StreamNo } from '@sluice/domain';
import type { AuditFindings, ContentSize, StreamFindings } from '@sluice/source-steps';
import type { DeployProgress } from './deploy-jobs.ts';
import type { Follower } from './follower.ts';
import type { Holding } from './holding.ts';
import { addLoaded, dropLoading, streamsInUse } from './redeploy.ts';
import { planOf } from './schema/plan-tables.ts';

/** What one comparison of a project's buckets with its source found. */
export interface AuditReport {
  /** The checkpoint at which both were looked at. */
  readonly lsn: Lsn;
  readonly streams: readonly StreamFindings[];
}
export interface AuditOptions {
  readonly holding: Holding;
  readonly epoch: EpochRecord;
  readonly follower: Follower;
  readonly onProgress: (progress: DeployProgress) => void;
  readonly onQueueCleared: (republish: () => void) => void;
}

const GROUPS_PER_READ = 20_000;
const CHECKPOINT_POLL_MS = 50;
/** The checkpoint that is compared stays readable for this long. Milliseconds. */
const PIN_TTL_MS = 3_600_000;

interface Pair {
  readonly served: StreamRecord;
  readonly fresh: StreamRecord;
}

/**
 * Anti-entropy: every visible stream is copied from the source once more, as a generation that nobody sees, while the old one
 * serves. At one checkpoint at which both are complete they are compared, bucket by bucket. What is equal is dropped again. What
 * differs takes the place of what was served, as after a deployment: nothing is patched in place (L11, L17).
 * @throws AppError; then everything serves on as before
 */
export async function auditStreams(options: AuditOptions, signal: AbortSignal): Promise<AuditReport> {
  const { holding, epoch, follower } = options;
  const { dependencies, project, token } = holding;
  const { store, wakeUps, events } = dependencies;
  const inUse = await streamsInUse(holding, epoch);
  const served = inUse.filter((stream) => stream.visibleAfter !== undefined);
  const plans = served.map(planOf);
  const pin = `audit:${epoch.epoch}`;
  try {
    const { streams } = await addLoaded(options, plans, signal);
    const lsn = await settledCheckpoint(options, signal);
    await store.pinCheckpoint(project, pin, { epoch: epoch.epoch, lsn, ttlMs: PIN_TTL_MS });
    const pairs = pairsOf(served, streams);
    const audits = new Map<Pair, StreamFindings>();
    for (const pair of pairs) audits.set(pair, await compare(options, pair, lsn, signal));
    const wrong = pairs.filter((pair) => !audits.get(pair)?.isEqual);
    const equal = pairs.filter((pair) => audits.get(pair)?.isEqual);
    const kept = [...equal.map((pair) => pair.served), ...wrong.map((pair) => pair.fresh)];
    const change = {
      show: wrong.map((pair) => pair.fresh.stream),
      drop: [...wrong.map((pair) => pair.served.stream), ...equal.map((pair) => pair.fresh.stream)],
    };
    await follower.switchTo(kept, () => store.switchStreams(project, token, epoch.epoch, change));
    const found = [...audits.values()];
    await noteDifferences(holding, found);
    events.audited(project, found.length, wrong.length);
    return { lsn, streams: found };
  } catch (error) {
    follower.barriersUntil(undefined);
    await dropLoading(holding, epoch).catch(() => {});
    throw error;
  } finally {
    await store.unpinCheckpoint(project, pin).catch(() => {});
    wakeUps.publish({ kind: 'streams', project });
    follower.setStreams(await streamsInUse(holding, epoch).catch(() => inUse));
    await follower.heartbeat();
  }
}

/** The report as it travels to whoever asked. */
export function auditFindings({ lsn, streams }: AuditReport): AuditFindings {
  return { lsn: formatLsn(lsn), streams };
}

function pairsOf(served: readonly StreamRecord[], fresh: readonly StreamRecord[]): Pair[] {
  return served.flatMap((old) => {
    const copy = fresh.find(({ name, contentHash }) => name === old.name && contentHash === old.contentHash);
    return copy ? [{ served: old, fresh: copy }] : [];
  });
}

/** A readable checkpoint at or above the point of the copy. */
async function settledCheckpoint({ holding, follower }: AuditOptions, signal: AbortSignal): Promise<Lsn> {
  const { dependencies, project } = holding;
  const { store, clock } = dependencies;
  const fresh = (await store.readStreams(project)).filter((stream) => stream.visibleAfter === undefined);
  const point = fresh.map((stream) => stream.backfillPoint ?? (0n as Lsn)).reduce((a, b) => (b > a ? b : a));
  for (;;) {
    const checkpoint = await store.readCheckpoint(project);
    if (checkpoint && checkpoint.lsn >= point) return checkpoint.lsn;
    await follower.heartbeat();
    await delay(clock, CHECKPOINT_POLL_MS, signal);
    signal.throwIfAborted();
  }
}

async function compare(
  { holding }: AuditOptions,
  { served, fresh }: Pair,
  through: Lsn,
  signal: AbortSignal,
): Promise<StreamFindings> {
  const sizes: ContentSize[] = [];
  const digests: string[] = [];
  for (const { stream } of [served, fresh]) {
    const buckets = await contentOf(holding, { stream, of: 'buckets', through }, signal);
    const lookups = await contentOf(holding, { stream, of: 'lookups', through }, signal);
    sizes.push({ buckets: buckets.groups, rows: buckets.rows });
    digests.push([buckets, lookups].map(({ groups, rows, digest }) => `${groups} ${rows} ${digest}`).join());
  }
  const [ofServed, ofSource] = sizes as [ContentSize, ContentSize];
  return { name: served.name, isEqual: digests[0] === digests[1], served: ofServed, source: ofSource };
}

async function contentOf(
  { dependencies, project }: Holding,
  request: { readonly stream: StreamNo; readonly of: 'buckets' | 'lookups'; readonly through: Lsn },
  signal: AbortSignal,
): Promise<{ groups: number; rows: number; digest: bigint }> {
  const total = { groups: 0, rows: 0, digest: 0n };
  let from: string | undefined;
  do {
    const window = await dependencies.store.readDigest(project, { ...request, from, groupsMax: GROUPS_PER_READ });
    total.groups += window.groups;
    total.rows += window.rows;
    total.digest = BigInt.asUintN(64, total.digest + window.digest);
    from = window.next;
    signal.throwIfAborted();
  } while (from !== undefined);
  return total;
}

async function noteDifferences(
  { dependencies, project, token }: Holding,
  audits: readonly StreamFindings[],
): Promise<void> {
  const issues = audits
    .filter(({ isEqual }) => !isEqual)
    .map(({ name, served, source }) => ({
      code: 'STREAM_DIFFERED',
      table: name,
      count: Math.max(1, Math.abs(served.rows - source.rows)),
      details: { rowsServed: served.rows, rowsInSource: source.rows, bucketsServed: served.buckets },
    }));
  if (issues.length > 0) await dependencies.store.noteIssues(project, token, issues);
}
