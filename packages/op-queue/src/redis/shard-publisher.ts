import { type Clock, delay } from '@sluice/domain';
import { type RedisLink, refusal, type Troubles } from '@sluice/redis-link';
import type { Frame } from '../frame.ts';
import { encodeFrame } from '../frame-codec.ts';
import { CONSUMER, GROUP, type ShardKeys } from './keys.ts';
import { recover } from './retry.ts';
import { APPEND, CLEAR } from './scripts.ts';
import { ENTRIES_MAX, type ShardRoom } from './shard-room.ts';

/** Frames that were let in and are not yet confirmed by Redis: they keep the link busy while the publisher goes on. */
const AHEAD_BYTES_MAX = 2 << 20;
const AHEAD_FRAMES_MAX = 1_000;
/** What one command carries at most, unless a single frame is larger. */
const COMMAND_BYTES_MAX = 1 << 20;
const COMMAND_FRAMES_MAX = 250;
/** How often a full shard is asked for room, unless this process hears of it earlier. */
const ROOM_POLL_MS = 5;
/** Keys that nobody added to for so long belong to a project that is gone. */
const IDLE_MS = 24 * 60 * 60 * 1000;

interface LineFrame {
  /** Bytes of `changes`, which the bound counts. */
  readonly bytes: number;
  readonly encoded: Uint8Array;
  /** Tells a waiting publisher that its frame is in. Undefined once told. */
  admit: (() => void) | undefined;
}

export interface ShardPublisherOptions {
  readonly link: RedisLink;
  readonly keys: ShardKeys;
  readonly room: ShardRoom;
  readonly clock: Clock;
  readonly troubles: Troubles;
  /** Called before frames are sent. */
  readonly announce: () => Promise<void>;
  /** Called when Redis has forgotten the shard's frames. */
  readonly cleared: () => void;
  /** Ends the publisher. */
  readonly closed: AbortSignal;
}

/**
 * Brings the frames of one shard to Redis in order. One command is under way at a time; what arrives meanwhile goes
 * together in the next. A command that failed or whose answer was lost is sent again, so a frame may arrive twice.
 */
export class ShardPublisher {
  private readonly options: ShardPublisherOptions;
  private line: LineFrame[] = [];
  private lineBytes = 0;
  /** The shard must be cleared before anything else is sent; called when that was tried. */
  private clears: (() => void)[] | undefined;
  private isRunning = false;
  /** The last command failed, and it is not yet time to try again. */
  private isFailing = false;
  private wakeRoom = (): void => {};

  constructor(options: ShardPublisherOptions) {
    this.options = options;
    options.room.onFreed = () => this.wakeRoom();
  }

  /** Resolves when the frame was let in: when there is room for it by what is known, or when Redis took it. @throws the signal's reason */
  publish(frame: Frame, signal: AbortSignal): Promise<void> {
    const bytes = frame.changes.length;
    const isAdmitted = this.isAhead(bytes);
    const entry: LineFrame = { bytes, encoded: encodeFrame(frame), admit: undefined };
    this.line.push(entry);
    this.lineBytes += bytes;
    const admitted = isAdmitted ? Promise.resolve() : this.admission(entry, signal);
    this.wake();
    return admitted;
  }

  /**
   * Forgets what waits here and in Redis. Resolves when Redis did, or at once when it cannot now: it then comes before
   * the next frame. Publishers that wait go on.
   */
  clear(): Promise<void> {
    const { line } = this;
    this.line = [];
    this.lineBytes = 0;
    for (const { admit } of line) admit?.();
    const isTried = new Promise<void>((resolve) => {
      this.clears = [...(this.clears ?? []), resolve];
    });
    this.wakeRoom();
    this.wake();
    return this.isFailing || !this.options.link.isReady ? Promise.resolve() : isTried;
  }

  /** Whether everything that was published has reached Redis. */
  get isIdle(): boolean {
    return this.line.length === 0 && !this.clears;
  }

  private isAhead(bytes: number): boolean {
    const last = this.line.at(-1);
    if (this.clears || last?.admit) return false;
    if (last && (this.lineBytes + bytes > AHEAD_BYTES_MAX || this.line.length >= AHEAD_FRAMES_MAX)) return false;
    return this.options.room.fits(bytes, this.lineBytes);
  }

  private admission(entry: LineFrame, signal: AbortSignal): Promise<void> {
    const ended = AbortSignal.any([signal, this.options.closed]);
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        this.leave(entry);
        reject(ended.reason);
      };
      entry.admit = () => {
        entry.admit = undefined;
        ended.removeEventListener('abort', abort);
        resolve();
      };
      ended.addEventListener('abort', abort);
    });
  }

  private leave(entry: LineFrame): void {
    const at = this.line.indexOf(entry);
    if (at === -1) return;
    this.line.splice(at, 1);
    this.lineBytes -= entry.bytes;
    this.wakeRoom();
  }

  private wake(): void {
    if (this.isRunning) return;
    this.isRunning = true;
    void this.run();
  }

  private async run(): Promise<void> {
    const { link, keys, clock, closed, room, troubles } = this.options;
    let failures = 0;
    while (!closed.aborted && (this.clears || this.line.length > 0)) {
      try {
        if (this.clears) await this.clearNow(this.clears);
        else await this.send();
        if (failures > 0) troubles.end(keys.frames);
        failures = 0;
      } catch (error) {
        for (const tried of this.clears ?? []) tried();
        room.forget();
        this.isFailing = true;
        // A lost link tells of itself.
        if (link.isReady) troubles.begin(keys.frames, refusal(error));
        await recover(error, { link, keys, clock, failures: ++failures }, closed);
        this.isFailing = false;
      }
    }
    this.isRunning = false;
  }

  private async clearNow(tried: readonly (() => void)[]): Promise<void> {
    const { link, keys, room } = this.options;
    await link.run(CLEAR, [keys.frames, keys.bytes], [GROUP, CONSUMER]);
    room.note(0, 0);
    this.options.cleared();
    for (const done of tried) done();
    // Asked for again while it was under way: what was let in since stands behind that second one.
    this.clears = this.clears === tried ? undefined : this.clears;
  }

  private async send(): Promise<void> {
    const { line } = this;
    const frames = this.nextFrames();
    if (frames.length > 0) await this.options.announce();
    const [added = 0] = await this.append(frames);
    // Cleared meanwhile: what was sent goes with it.
    if (line !== this.line) return;
    this.added(frames.slice(0, added));
    if (added < frames.length || frames.length === 0) await this.untilRoom();
  }

  /** The head of the line, or nothing when there is no room for it by what is known: then Redis is only asked. */
  private nextFrames(): LineFrame[] {
    const { room } = this.options;
    const first = this.line[0];
    if (first && room.used !== undefined && !room.fits(first.bytes, 0)) return [];
    const frames: LineFrame[] = [];
    let bytes = 0;
    for (const frame of this.line) {
      if (frames.length >= COMMAND_FRAMES_MAX || (frames.length > 0 && bytes + frame.bytes > COMMAND_BYTES_MAX)) break;
      frames.push(frame);
      bytes += frame.bytes;
    }
    return frames;
  }

  private async append(frames: readonly LineFrame[]): Promise<number[]> {
    const { link, keys, room } = this.options;
    const args = frames.flatMap(({ bytes, encoded }) => [bytes, encoded]);
    const reply = await link.run(APPEND, [keys.frames, keys.bytes], [room.bytesMax, ENTRIES_MAX, IDLE_MS, ...args]);
    const [added = 0, used = 0, entries = 0] = reply as number[]; // What the script returns.
    room.note(used, entries);
    return [added];
  }

  /** Takes frames that are in Redis out of the line; one that left it meanwhile is in Redis all the same. */
  private added(frames: readonly LineFrame[]): void {
    for (const frame of frames) {
      const at = this.line.indexOf(frame);
      if (at === -1) continue;
      this.line.splice(at, 1);
      this.lineBytes -= frame.bytes;
      frame.admit?.();
    }
  }

  private async untilRoom(): Promise<void> {
    const { room, clock, closed } = this.options;
    const first = this.line[0];
    if (!first || this.clears || room.fits(first.bytes, 0)) return;
    const freed = new AbortController();
    this.wakeRoom = () => freed.abort();
    await delay(clock, ROOM_POLL_MS, AbortSignal.any([closed, freed.signal]));
    this.wakeRoom = () => {};
  }
}
