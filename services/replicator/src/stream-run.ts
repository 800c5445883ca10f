import { ByteWriter, type Clock, type Lsn } from '@sluice/domain';
import { type AssembledFrame, Assembler, type AssemblerEvents } from './assemble/assembler.ts';
import type { ShardsTracker } from './progress/shards-tracker.ts';
import type { StartPoint } from './progress/start-point.ts';
import { Outbox } from './publish/outbox.ts';
import { MESSAGE_PREFIX } from './source/heartbeat.ts';
import { WalStream, type WalStreamOptions } from './source/wal-stream.ts';

export interface StreamRunOptions {
  readonly stream: Omit<WalStreamOptions, 'sink' | 'confirmed' | 'startLsn'>;
  readonly start: StartPoint;
  readonly tracker: ShardsTracker;
  readonly clock: Clock;
  readonly frameBytesMax: number;
  readonly rowBytesMax: number;
  readonly events: Omit<AssemblerEvents, 'frame'>;
  readonly publish: (frame: AssembledFrame, signal: AbortSignal) => Promise<void>;
}

/** A transaction that is this old when the server sends it says that we are catching up. */
const behindUs = 1_000_000n;
/** Live frames go out at once while fewer than this are on their way; beyond it they gather more transactions. */
const framesInFlightMax = 2;
/** Looks this often whether a frame that waits should go. */
const flushCheckMs = 5;
/** While catching up a frame that is not full waits for more this long. */
const behindFrameAgeMaxMs = 750;
/** And is handed over when nothing has come for this long: shorter pauses are the server's, in the middle of a backlog. */
const behindIdleMs = 25;
/** A live frame that waits for those on their way goes at last. */
const liveFrameAgeMaxMs = 20;

/** One connection's way from the socket to the queue: stream, assembler and outbox, and when a frame is closed. */
export class StreamRun {
  readonly stream: WalStream;
  readonly outbox: Outbox<AssembledFrame>;
  readonly assembler: Assembler;
  private readonly options: StreamRunOptions;
  private isCatchingUp = false;
  /** When the first whole transaction of the open frame was complete; undefined without one. */
  private openSinceMs: number | undefined;
  private lastChunkMs = 0;
  private cancelTimer: (() => void) | undefined;
  private isDraining = false;
  /** The first bytes of a message that is too large to hold. */
  private prefix = new ByteWriter(1);

  constructor(options: StreamRunOptions) {
    this.options = options;
    const { start, tracker } = options;
    this.assembler = new Assembler({
      events: { ...options.events, frame: (frame) => this.frameClosed(frame) },
      messagePrefix: MESSAGE_PREFIX,
      applied: start.applied,
      mustRepeat: start.mustRepeat,
      frameBytesMax: options.frameBytesMax,
      rowBytesMax: options.rowBytesMax,
    });
    this.outbox = new Outbox({
      publish: options.publish,
      full: () => this.stream.hold(),
      room: () => {
        if (!this.isDraining) this.stream.release();
      },
    });
    this.stream = new WalStream({
      ...options.stream,
      sink: this,
      startLsn: start.startLsn,
      confirmed: () => tracker.confirmed,
    });
  }

  get isBehind(): boolean {
    return this.isCatchingUp;
  }

  /** Durable positions moved: a frame that waited for room may go. */
  moved(): void {
    this.stream.confirmedMoved();
    if (this.openSinceMs !== undefined && !this.isCatchingUp) this.flushIfRoom();
  }

  /** Reads nothing more, and sends off the whole transactions that were read. */
  drain(): void {
    this.isDraining = true;
    this.stream.hold();
    if (this.assembler.hasCompleted) this.assembler.flushCompleted();
  }

  stop(): void {
    this.cancelTimer?.();
  }

  /** Commits from here on are barriers of their own, until the stream has passed `until`. */
  barrierAtEveryCommit(until: Lsn | 'unknown'): void {
    this.assembler.barrierAtEveryCommit(until);
  }

  // --- what the stream hands over

  message(source: Uint8Array, view: DataView, start: number, end: number): void {
    this.assembler.push(source, view, start, end);
  }

  drained(sentAtUs: bigint): void {
    const { clock } = this.options;
    this.lastChunkMs = clock.monotonicMs();
    this.isCatchingUp = sentAtUs - this.assembler.transactionTimeUs > behindUs && this.assembler.transactionTimeUs > 0n;
    if (!this.assembler.hasCompleted) return;
    this.openSinceMs ??= this.lastChunkMs;
    if (!this.isCatchingUp) this.flushIfRoom();
    if (this.openSinceMs !== undefined) this.armTimer();
  }

  largeBegin(messageBytes: number): void {
    this.prefix = new ByteWriter(Math.min(messageBytes, this.prefixBytesMax));
  }
  largePart(source: Uint8Array, start: number, end: number): void {
    const room = this.prefixBytesMax - this.prefix.length;
    if (room > 0) this.prefix.raw(source, start, Math.min(end, start + room));
  }
  largeEnd(): void {
    const { prefix } = this;
    this.prefix = new ByteWriter(1);
    this.assembler.pushPrefix(prefix.written());
  }

  /** A whole row of the largest size, and what stands before it. */
  private get prefixBytesMax(): number {
    return this.options.rowBytesMax + 1024;
  }

  private frameClosed(frame: AssembledFrame): void {
    this.openSinceMs = undefined;
    this.outbox.add(frame);
  }

  private flushIfRoom(): void {
    // Within a transaction the rest of it is usually a moment away, and its commit closes the frame.
    if (!this.assembler.isComplete) return;
    if (this.options.tracker.framesInFlight + this.outbox.waiting < framesInFlightMax) this.assembler.flushCompleted();
  }

  private armTimer(): void {
    if (this.cancelTimer) return;
    this.cancelTimer = this.options.clock.setTimer(flushCheckMs, () => {
      this.cancelTimer = undefined;
      if (this.openSinceMs === undefined) return;
      const nowMs = this.options.clock.monotonicMs();
      const isIdle = nowMs - this.lastChunkMs >= behindIdleMs;
      const ageMaxMs = this.isCatchingUp ? behindFrameAgeMaxMs : liveFrameAgeMaxMs;
      if ((this.isCatchingUp && isIdle) || nowMs - this.openSinceMs >= ageMaxMs) this.assembler.flushCompleted();
      else this.armTimer();
    });
  }
}
