/** What the outbox carries, in one order: frames for the queue, and steps that must be done before later frames go. */
type Item<Frame> = { readonly kind: 'frame'; readonly frame: Frame } | { readonly kind: 'step'; run(): Promise<void> };

export interface OutboxOptions<Frame> {
  /** Resolves when the queue took the frame; waiting there is the back-pressure of the whole path. */
  readonly publish: (frame: Frame, signal: AbortSignal) => Promise<void>;
  /** So many items wait that no more should be made; `room` follows. */
  readonly full: () => void;
  readonly room: () => void;
}

/** Frames that may wait while one is being published. A socket's chunk adds a few more before its reading stops. */
const waitingMax = 2;

/** Publishes frames one after the other while the next is being assembled. */
export class Outbox<Frame> {
  private readonly options: OutboxOptions<Frame>;
  private readonly items: Item<Frame>[] = [];
  private isFull = false;
  private wake = (): void => {};

  constructor(options: OutboxOptions<Frame>) {
    this.options = options;
  }

  get waiting(): number {
    return this.items.length;
  }

  add(frame: Frame): void {
    this.push({ kind: 'frame', frame });
  }
  /** Runs `run` after all frames so far were published and before any later one. */
  addStep(run: () => Promise<void>): void {
    this.push({ kind: 'step', run });
  }

  /** Publishes until aborted. @throws what `publish` and steps throw */
  async run(signal: AbortSignal): Promise<void> {
    signal.addEventListener('abort', () => this.wake(), { once: true });
    while (!signal.aborted) {
      const item = this.items[0];
      if (!item) {
        await new Promise<void>((resolve) => {
          this.wake = resolve;
        });
        continue;
      }
      await (item.kind === 'frame' ? this.options.publish(item.frame, signal) : item.run());
      this.items.shift();
      this.announceRoom();
    }
  }

  private push(item: Item<Frame>): void {
    this.items.push(item);
    this.wake();
    if (this.isFull || this.items.length <= waitingMax) return;
    this.isFull = true;
    this.options.full();
  }

  private announceRoom(): void {
    if (!this.isFull || this.items.length > waitingMax) return;
    this.isFull = false;
    this.options.room();
  }
}
