import type { Duplex } from 'node:stream';
import type { Clock } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import { WebSocket } from 'ws';
import type { SendAccount } from './send-budget.ts';
import { framed } from './websocket-frames.ts';

export interface OutboxOptions {
  readonly socket: WebSocket;
  /** The stream under it. */
  readonly stream: Duplex;
  readonly clock: Clock;
  /** What the connection may keep in its buffer; beyond it, `ready` waits. */
  readonly account: SendAccount;
  /** Not a byte left for so long while some wait: the client is too slow. At most a quarter of it later it is cut. */
  readonly stalledMs: number;
  readonly onStalled: () => void;
}

/** The bounded way out of a connection (L16): whoever sends much awaits `ready` in between. */
export class Outbox {
  private readonly options: OutboxOptions;
  private waiters: { resolve: () => void; reject: (error: Error) => void }[] = [];
  private cancelWatch: (() => void) | undefined;
  private stopLooking: (() => void) | undefined;
  private given = 0;
  bytesSent = 0;

  constructor(options: OutboxOptions) {
    this.options = options;
    options.socket.once('close', () => this.end());
  }

  get isOpen(): boolean {
    return this.options.socket.readyState === WebSocket.OPEN;
  }
  private get bufferedBytes(): number {
    return this.options.socket.bufferedAmount;
  }

  /**
   * Sends binary messages in one write. They go to the stream under the library's socket, which frames each message
   * anew for each connection; its own pings and close frames are written there too, so the order is kept.
   * @throws AppError SESSION_RESTART when the connection is over
   */
  send(messages: readonly Uint8Array[]): void {
    if (!this.isOpen) throw connectionOver();
    const { stream } = this.options;
    const pieces = framed(messages);
    if (pieces.length > 1) stream.cork();
    for (const piece of pieces) {
      this.bytesSent += piece.length;
      this.given += piece.length;
      stream.write(piece, this.onWritten);
    }
    if (pieces.length > 1) stream.uncork();
    this.account();
  }

  /** @throws AppError SESSION_RESTART when the connection is over */
  sendText(message: string): void {
    if (!this.isOpen) throw connectionOver();
    this.bytesSent += message.length;
    this.given += message.length;
    this.options.socket.send(message, this.onWritten);
    this.account();
  }

  get isReady(): boolean {
    return this.options.account.hasRoom;
  }

  /** @throws AppError SESSION_RESTART when the connection is over */
  ready(): Promise<void> {
    if (!this.isOpen) return Promise.reject(connectionOver());
    if (this.isReady) return Promise.resolve();
    this.stopLooking ??= this.options.account.whenOthersMakeRoom(() => this.look());
    return new Promise((resolve, reject) => {
      this.waiters.push({ resolve, reject });
    });
  }

  private readonly onWritten = (): void => {
    this.account();
    // Going on for every few bytes that left would read the same page many times over.
    if (this.waiters.length > 0 && this.bufferedBytes <= this.resumeBytes) this.look();
  };

  /** Half of what stood in the buffer when it was found full. */
  private resumeBytes = 0;

  private look(): void {
    if (this.waiters.length === 0 || !this.isReady) return;
    this.stopLooking?.();
    this.stopLooking = undefined;
    const waiters = this.waiters;
    this.waiters = [];
    for (const { resolve } of waiters) resolve();
  }

  private account(): void {
    const bytes = this.bufferedBytes;
    this.options.account.set(bytes);
    if (bytes > 0) {
      this.resumeBytes = Math.max(this.resumeBytes, bytes / 2);
      this.watch();
    } else {
      this.resumeBytes = 0;
      this.cancelWatch?.();
      this.cancelWatch = undefined;
    }
  }

  /** Looks now and then whether bytes leave. Also part of a write counts, which a slow link may take long to finish. */
  private watch(): void {
    if (this.cancelWatch) return;
    const { clock, stalledMs, onStalled } = this.options;
    let seen = this.progress();
    let seenAtMs = clock.monotonicMs();
    const check = (): void => {
      const now = this.progress();
      if (now !== seen) {
        seen = now;
        seenAtMs = clock.monotonicMs();
      }
      if (clock.monotonicMs() - seenAtMs >= stalledMs) onStalled();
      else this.cancelWatch = clock.setTimer(stalledMs / 4, check);
    };
    this.cancelWatch = clock.setTimer(stalledMs / 4, check);
  }

  /** Changes when bytes leave: how much of what was given is gone, and what is left of the write under way. */
  private progress(): string {
    return `${this.given - this.bufferedBytes} ${queuedInHandle(this.options.stream)}`;
  }

  private end(): void {
    this.cancelWatch?.();
    this.cancelWatch = undefined;
    this.stopLooking?.();
    this.stopLooking = undefined;
    this.options.account.close();
    const waiters = this.waiters;
    this.waiters = [];
    for (const { reject } of waiters) reject(connectionOver());
  }
}

/**
 * Bytes of the write under way that the kernel has not taken. A stream counts a write until all of it is gone, which on a
 * slow link takes long; Node's own socket timeout asks the handle as well (lib/net.js, `_onTimeout`).
 */
function queuedInHandle(stream: Duplex): number {
  const handle: unknown = '_handle' in stream ? stream._handle : undefined;
  const queued = typeof handle === 'object' && handle !== null && 'writeQueueSize' in handle && handle.writeQueueSize;
  return typeof queued === 'number' ? queued : 0;
}

function connectionOver(): AppError {
  return new AppError('SESSION_RESTART', { internal: 'the connection is over' });
}
