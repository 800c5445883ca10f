import { type Clock, delay, type ProjectId } from '@sluice/domain';
import type { WorkerEvents } from '../events.ts';
import type { SchemaMismatch } from './relation-bindings.ts';

/** Streams and holds are looked at again this often while a frame waits for them; a wake-up comes sooner. */
const POLL_MS = 1_000;

/**
 * A frame whose tables no longer fit its streams is refused: it waits, and the queue behind it, until the streams were
 * replaced or checkpoints are held (SCHEMA_CHANGED, L17).
 */
export class SchemaWait {
  private readonly options: { readonly project: ProjectId; readonly clock: Clock; readonly events: WorkerEvents };
  private readonly signal: AbortSignal;
  private waiting: AbortController | undefined;
  private isTold = false;

  constructor(options: SchemaWait['options'], signal: AbortSignal) {
    this.options = options;
    this.signal = signal;
  }

  /** Resolves when it is worth looking again. Rejects with the signal's reason. */
  async wait(mismatches: readonly SchemaMismatch[]): Promise<void> {
    if (!this.isTold) this.options.events.schemaChanged(this.options.project, mismatches);
    this.isTold = true;
    this.waiting = new AbortController();
    await delay(this.options.clock, POLL_MS, AbortSignal.any([this.signal, this.waiting.signal]));
    this.waiting = undefined;
    this.signal.throwIfAborted();
  }

  wake(): void {
    this.waiting?.abort();
  }

  /** A frame went through: the next refusal is news again. */
  reset(): void {
    this.isTold = false;
  }
}
