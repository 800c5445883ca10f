import type { ProjectId } from '@sluice/domain';
import type { Frame, OpQueue, TakenFrame } from '@sluice/op-queue';

/** What is done with the frames of one shard. */
export interface FrameApplier<Prepared> {
  /** Works ahead on a frame while the one before it is under way; undefined when that cannot be done. Never throws. */
  prepare(frame: Frame): Prepared | undefined;
  /** Brings the frame to its end and calls `done`. Called for one frame at a time. @throws what stops the shard */
  apply(taken: TakenFrame, prepared: Prepared | undefined): Promise<void>;
}

/**
 * Takes one shard's frames in order until the signal is aborted, preparing the next while one is applied. Resolves when
 * nothing is under way. @throws what stopped the shard; no later frame was applied then
 */
export async function takeFrames<Prepared>(
  from: { readonly queue: OpQueue; readonly project: ProjectId; readonly shard: number },
  applier: FrameApplier<Prepared>,
  signal: AbortSignal,
): Promise<void> {
  const stopping = new AbortController();
  const ended = AbortSignal.any([signal, stopping.signal]);
  let failure: { readonly error: unknown } | undefined;
  let underWay: Promise<void> | undefined;
  for await (const taken of from.queue.take(from.project, from.shard, ended)) {
    const prepared = applier.prepare(taken.frame);
    await underWay;
    if (ended.aborted) break;
    underWay = applier.apply(taken, prepared).catch((error: unknown) => {
      failure = { error };
      // Ends the wait for the next frame: there will be none.
      stopping.abort();
    });
  }
  await underWay;
  if (failure) throw failure.error;
}
