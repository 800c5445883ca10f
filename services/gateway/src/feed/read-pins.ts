import { randomUUID } from 'node:crypto';
import type { Checkpoint, Clock, ProjectId } from '@sluice/domain';
import type { StoreReads } from '../model.ts';

/** A step that takes longer has its checkpoint pinned; compaction leaves checkpoints readable for longer than this anyway. */
const PIN_AFTER_MS = 60_000;
const PIN_TTL_MS = 3 * PIN_AFTER_MS;
/** A client that takes longer than this to take one checkpoint begins anew. */
const PINNED_MS_MAX = 6 * 3_600_000;

export interface ReadPinsOptions {
  readonly store: StoreReads;
  readonly project: ProjectId;
  readonly clock: Clock;
  readonly onFailure: (error: unknown) => void;
}

/**
 * Keeps the checkpoints of long reads, mostly first syncs of slow clients, from being folded under them (L5). A pin that
 * could not be written costs such a client a restart, never a wrong row: every read asks whether its checkpoint still stands.
 */
export class ReadPins {
  private readonly options: ReadPinsOptions;
  private readonly holder = `gateway:${randomUUID()}`;
  private readonly reads = new Set<{ readonly checkpoint: Checkpoint; readonly sinceMs: number }>();
  private cancelTimer: (() => void) | undefined;
  private isPinned = false;

  constructor(options: ReadPinsOptions) {
    this.options = options;
  }

  async during<T>(checkpoint: Checkpoint, read: () => Promise<T>): Promise<T> {
    const entry = { checkpoint, sinceMs: this.options.clock.monotonicMs() };
    this.reads.add(entry);
    this.schedule();
    try {
      return await read();
    } finally {
      this.reads.delete(entry);
    }
  }

  close(): void {
    this.reads.clear();
    this.cancelTimer?.();
    this.cancelTimer = undefined;
    void this.keep();
  }

  private schedule(): void {
    this.cancelTimer ??= this.options.clock.setTimer(PIN_AFTER_MS, () => {
      this.cancelTimer = undefined;
      void this.keep();
      if (this.reads.size > 0) this.schedule();
    });
  }

  private async keep(): Promise<void> {
    const { store, project, clock, onFailure } = this.options;
    const nowMs = clock.monotonicMs();
    const long = [...this.reads]
      .filter(({ sinceMs }) => nowMs - sinceMs >= PIN_AFTER_MS && nowMs - sinceMs < PINNED_MS_MAX)
      .map(({ checkpoint }) => checkpoint)
      .reduce<Checkpoint | undefined>((oldest, next) => (oldest && oldest.lsn <= next.lsn ? oldest : next), undefined);
    try {
      if (long)
        await store.pinCheckpoint(project, this.holder, { epoch: long.epoch, lsn: long.lsn, ttlMs: PIN_TTL_MS });
      else if (this.isPinned) await store.unpinCheckpoint(project, this.holder);
      this.isPinned = long !== undefined;
    } catch (error) {
      onFailure(error);
    }
  }
}
