import type { Duplex } from 'node:stream';
import type { Clock } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import { WebSocket } from 'ws';
import { framed } from './websocket-frames.ts';

export interface OutboxOptions {
  readonly socket: WebSocket;
  /** The stream under it. */
  readonly stream: Duplex;
  readonly clock: Clock;
  /** Above this many bytes that the kernel has not taken, `ready` waits. */
  readonly pauseBytes: number;
  /** When nothing at all leaves for so long while `ready` waits, the client is too slow. */
  readonly stalledMs: number;
  readonly onStalled: () => void;
}

/** The bounded way out of a connection (L16): whoever sends much awaits `ready` in between. */
export class Outbox {
  private readonly options: OutboxOptions;
  private waiters: { resolve: () => void; reject: (error: Error) => void }[] = [];
  private cancelStall: (() => void) | undefined;
  bytesSent = 0;

  constructor(options: OutboxOptions) {
    this.options = options;
    options.socket.once('close', () => this.end());
  }

  get isOpen(): boolean {
    return this.options.socket.readyState === WebSocket.OPEN;
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
      stream.write(piece, this.onWritten);
    }
    if (pieces.length > 1) stream.uncork();
  }

  /** @throws AppError SESSION_RESTART when the connection is over */
  sendText(message: string): void {
    if (!this.isOpen) throw connectionOver();
    this.bytesSent += message.length;
    this.options.socket.send(message, this.onWritten);
  }

  /** @throws AppError SESSION_RESTART when the connection is over */
  ready(): Promise<void> {
    if (!this.isOpen) return Promise.reject(connectionOver());
    if (this.options.socket.bufferedAmount <= this.options.pauseBytes) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.waiters.push({ resolve, reject });
      this.armStall();
    });
  }

  private readonly onWritten = (): void => {
    if (this.waiters.length === 0) return;
    if (this.options.socket.bufferedAmount > this.options.pauseBytes / 2) {
      this.armStall();
      return;
    }
    this.disarmStall();
    const waiters = this.waiters;
    this.waiters = [];
    for (const { resolve } of waiters) resolve();
  };

  private end(): void {
    this.disarmStall();
    const waiters = this.waiters;
    this.waiters = [];
    for (const { reject } of waiters) reject(connectionOver());
  }
  private armStall(): void {
    this.disarmStall();
    this.cancelStall = this.options.clock.setTimer(this.options.stalledMs, this.options.onStalled);
  }
  private disarmStall(): void {
    this.cancelStall?.();
    this.cancelStall = undefined;
  }
}

function connectionOver(): AppError {
  return new AppError('SESSION_RESTART', { internal: 'the connection is over' });
}
