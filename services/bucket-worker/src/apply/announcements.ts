import type { BucketId, Checkpoint, LookupId, Lsn, ProjectId, StreamNo } from '@sluice/domain';
import type { WakeUps } from '@sluice/op-queue';
import type { FrameResult } from './evaluate-frame.ts';

/** Names remembered between two checkpoints; past it the rest is not named, and sessions find it by polling. */
const NAMES_MAX = 200_000;
/** Names in one wake-up. */
const NAMES_PER_WAKE_UP = 10_000;

/** Collects what frames changed until the checkpoint that makes it readable, and tells it then. */
export class Announcements {
  private readonly project: ProjectId;
  private readonly wakeUps: WakeUps;
  private readonly buckets = new Set<BucketId>();
  private readonly lookups = new Set<LookupId>();
  private readonly truncated = new Set<StreamNo>();

  constructor(project: ProjectId, wakeUps: WakeUps) {
    this.project = project;
    this.wakeUps = wakeUps;
  }

  /** Must be called before the frame's result is released. */
  collect(result: FrameResult): void {
    for (const { bucket } of result.chunks) if (this.buckets.size < NAMES_MAX) this.buckets.add(bucket);
    for (const { lookup } of result.memberships) if (this.lookups.size < NAMES_MAX) this.lookups.add(lookup);
    for (const { stream } of result.truncates) this.truncated.add(stream);
  }

  /** Tells the checkpoint with everything collected; long lists take several wake-ups of the same checkpoint. */
  checkpoint(checkpoint: Checkpoint, previousLsn: Lsn): void {
    const buckets = [...this.buckets];
    const lookups = [...this.lookups];
    const truncated = [...this.truncated];
    this.buckets.clear();
    this.lookups.clear();
    this.truncated.clear();
    const count = Math.max(1, Math.ceil(Math.max(buckets.length, lookups.length) / NAMES_PER_WAKE_UP));
    for (let i = 0; i < count; i++) {
      const from = i * NAMES_PER_WAKE_UP;
      const to = from + NAMES_PER_WAKE_UP;
      this.wakeUps.publish({
        kind: 'checkpoint',
        project: this.project,
        checkpoint,
        previousLsn,
        buckets: buckets.slice(from, to),
        lookups: lookups.slice(from, to),
        truncated: i === 0 ? truncated : [],
      });
    }
  }
}
