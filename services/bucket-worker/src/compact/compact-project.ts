import type { BucketStore, CompactionToken, FloorAges } from '@sluice/bucket-store';
import type { Clock, Lsn, ProjectId } from '@sluice/domain';
import { type CompactionStep, compactStream } from './compact-stream.ts';

export interface CompactionSettings extends FloorAges {
  readonly holder: string;
  /** Buckets that one statement looks at. */
  readonly bucketsMax: number;
  /** Payload bytes that one step holds and writes. */
  readonly bytesMax: number;
}
/** What is remembered of a project from pass to pass; losing it costs one thorough pass. */
export interface CompactionMemory {
  thoroughAt: { readonly resumeFrom: Lsn; readonly monotonicMs: number } | undefined;
}

const LEASE_TTL_MS = 60_000;
/** A bucket with a row that changes all the time is written anew at most this often in a retention. */
const THOROUGH_PER_RETENTION = 30;

interface Work {
  readonly store: BucketStore;
  readonly clock: Clock;
  readonly project: ProjectId;
}
interface Lease {
  readonly token: CompactionToken;
  keep(): Promise<void>;
}

/**
 * One pass over a project, a short step at a time; who takes the steps may pause between them for as long as the lease
 * lasts, or stop. Ends at once when another process compacts the project.
 * @throws STORE_FENCED when the lease was lost or a stream is erased meanwhile: the next pass begins anew
 */
export async function* compactProject(
  work: Work,
  settings: CompactionSettings,
  memory: CompactionMemory,
): AsyncGenerator<CompactionStep> {
  const { store, project } = work;
  const lease = await holdLease(work, settings.holder);
  if (!lease) return;
  try {
    yield* passOf(work, lease, settings, memory);
  } finally {
    await store.releaseCompaction(project, lease.token);
  }
}

async function* passOf(
  { store, clock, project }: Work,
  lease: Lease,
  settings: CompactionSettings,
  memory: CompactionMemory,
): AsyncGenerator<CompactionStep> {
  const floors = await store.raiseFloors(project, lease.token, settings);
  if (!floors || floors.readFrom === 0n) return;
  const { passedThrough } = floors;
  // Readers that began before the last pass ended may still be about: they must not meet what it left half done.

  if (passedThrough !== undefined && floors.readFrom <= passedThrough) return;
  const mayDropRemoves = passedThrough !== undefined;
  await store.beginPass(project, lease.token);
  const thorough = isThoroughDue(memory, floors.resumeFrom, settings.retentionMs, clock.monotonicMs());
  const streams = (await store.readStreams(project)).filter(
    (stream) => stream.epoch === floors.epoch && stream.visibleAfter !== undefined && stream.droppedAfter === undefined,
  );
  for (const { stream } of streams) {
    const { bucketsMax, bytesMax } = settings;
    const pass = {
      store,
      project,
      floors,
      stream,
      thorough,
      mayDropRemoves,
      bucketsMax,
      bytesMax,
      token: () => lease.token,
    };
    for await (const step of compactStream(pass)) {
      yield step;
      await lease.keep();
    }
  }
  await store.endPass(project, lease.token);
  if (thorough) memory.thoroughAt = { resumeFrom: floors.resumeFrom, monotonicMs: clock.monotonicMs() };
}

function isThoroughDue({ thoroughAt }: CompactionMemory, resumeFrom: Lsn, retentionMs: number, nowMs: number): boolean {
  if (resumeFrom === 0n) return thoroughAt === undefined;
  return thoroughAt === undefined || nowMs - thoroughAt.monotonicMs >= retentionMs / THOROUGH_PER_RETENTION;
}

async function holdLease({ store, clock, project }: Work, holder: string): Promise<Lease | undefined> {
  const first = await store.acquireCompaction(project, holder, LEASE_TTL_MS);
  if (first === undefined) return undefined;
  let takenMs = clock.monotonicMs();
  const lease = {
    token: first,
    async keep() {
      if (clock.monotonicMs() - takenMs < LEASE_TTL_MS / 3) return;
      takenMs = clock.monotonicMs();
      // Undefined: somebody else has it, and the next write is refused.
      lease.token = (await store.acquireCompaction(project, holder, LEASE_TTL_MS)) ?? lease.token;
    },
  };
  return lease;
}
