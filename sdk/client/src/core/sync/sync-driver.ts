import { type Clock, MalformedBytesError } from '@sluice/domain';
import { isAppError } from '@sluice/errors';
import {
  type BucketSum,
  type ClientMessage,
  decodeServerMessage,
  encodeClientMessage,
  LIMITS,
  PROTOCOL_VERSION,
  type ServerMessage,
  SUBPROTOCOL_BINARY,
} from '@sluice/protocol';
import { codedError } from '../store/coded-error.ts';
import type { PendingCheckpoint } from '../store/pending-checkpoint.ts';
import { type Applied, ChecksumMismatch, type Replica } from '../store/replica.ts';
import type { Settlement } from '../writes/pending-queue.ts';
import { deadlineOf, nextConnection } from './connection.ts';
import {
  type ConnectionEffect,
  type ConnectionEvent,
  type ConnectionState,
  INITIAL_STATE,
  type ReportedError,
} from './connection-state.ts';
import { UploadSender } from './upload-sender.ts';

/** The part of the browser's WebSocket that is used; `ws` has the same. */
export interface WebSocketLike {
  binaryType: string;
  readonly protocol: string;
  send(data: Uint8Array<ArrayBuffer>): void;
  close(code?: number, reason?: string): void;
  onopen: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
}
export interface Progress {
  readonly opsDone: number;
  readonly opsTotal: number;
  readonly bytesDone: number;
  readonly bytesTotal: number;
}
export interface SyncDriverOptions {
  readonly replica: Replica;
  readonly clock: Clock;
  readonly random: () => number;
  readonly openSocket: (subprotocol: string) => WebSocketLike;
  readonly fetchToken: () => Promise<string>;
  readonly project: string;
  readonly sdk: string;
  /** The database is damaged; this driver is of no more use. */
  readonly onCorrupt: () => void;
  readonly onApplied: (applied: Applied) => void;
  readonly onSource: (source: Extract<ServerMessage, { type: 'source' }>) => void;
  readonly onWrites: (writes: Extract<ServerMessage, { type: 'writes' }>) => void;
  readonly onError: (error: ReportedError) => void;
  readonly onPhase: (phase: ConnectionState['phase']['kind']) => void;
  readonly onProgress: (progress: Progress | undefined) => void;
}

/** Carries the connection's decisions out: one socket, one timer, one checkpoint on its way. Never throws outwards. */
export class SyncDriver {
  readonly #options: SyncDriverOptions;
  #state = INITIAL_STATE;
  #socket: WebSocketLike | undefined;
  #pending: PendingCheckpoint | undefined;
  #cancelTimer: (() => void) | undefined;
  readonly #queue: ConnectionEvent[] = [];
  readonly #uploads: UploadSender;
  #isRunning = false;

  constructor(options: SyncDriverOptions) {
    this.#options = options;
    const { replica, clock, random } = options;
    this.#uploads = new UploadSender({ replica, clock, random, send: (message) => this.#send(message) });
  }

  connect(): void {
    this.#dispatch({ type: 'connect' });
  }
  /** Hangs up and stays offline until `connect`. */
  disconnect(): void {
    this.#dispatch({ type: 'disconnect' });
  }
  /** Ends a pause between attempts. */
  online(): void {
    this.#dispatch({ type: 'online' });
  }

  /** The rows cannot be trusted: asks for all of them anew. */
  distrust(): void {
    this.#dispatch({ type: 'distrust' });
  }

  /** There is something new to send. */
  written(): void {
    this.#uploads.pump();
  }

  #dispatch(event: ConnectionEvent): void {
    this.#queue.push(event);
    if (this.#isRunning) return;
    this.#isRunning = true;
    try {
      for (let next = this.#queue.shift(); next; next = this.#queue.shift()) this.#step(next);
    } finally {
      this.#isRunning = false;
    }
    this.#armTimer();
  }
  #step(event: ConnectionEvent): void {
    const { clock, random, replica, onPhase } = this.#options;
    const before = this.#state.phase.kind;
    const context = { nowMs: clock.monotonicMs(), random: random(), held: replica.checkpoint };
    const { state, effects } = nextConnection(this.#state, event, context);
    this.#state = state;
    if (before === 'syncing' && state.phase.kind !== 'syncing') this.#uploads.hungUp();
    if (state.phase.kind !== before) onPhase(state.phase.kind);
    for (const effect of effects) this.#perform(effect);
  }
  #armTimer(): void {
    this.#cancelTimer?.();
    const deadline = deadlineOf(this.#state);
    const { clock } = this.#options;
    this.#cancelTimer =
      deadline === undefined
        ? undefined
        : clock.setTimer(Math.max(0, deadline - clock.monotonicMs()), () => this.#dispatch({ type: 'timer' }));
  }

  #perform(effect: ConnectionEffect): void {
    switch (effect.type) {
      case 'fetch-token':
        this.#fetchToken(effect.request);
        break;
      case 'open-socket':
        this.#openSocket();
        break;
      case 'close-socket':
        this.#closeSocket();
        break;
      case 'send-hello':
        this.#sendHello(effect);
        break;
      case 'send':
        this.#send(effect.message);
        break;
      case 'source':
        this.#options.onSource(effect.source);
        break;
      case 'writes':
        this.#options.onWrites(effect.writes);
        this.#uploads.setOpen(effect.writes.state === 'enabled');
        break;
      case 'upload-result':
        this.#uploads.answered(effect.result);
        break;
      case 'report':
        this.#options.onError(effect.error);
        break;
      case 'discard':
        this.#setPending(undefined);
        break;
      default:
        this.#feedReplica(effect);
    }
  }

  /** Whatever the replica refuses ends the connection; it has undone its part by then. */
  #feedReplica(effect: Extract<ConnectionEffect, { type: 'announce' | 'begin' | 'chunk' | 'apply' }>): void {
    const { replica } = this.#options;
    try {
      if (effect.type === 'announce') replica.announce(effect.schema.tables, effect.schema.streams);
      else if (effect.type === 'begin') this.#setPending(replica.begin(effect.head));
      else if (effect.type === 'chunk') this.#addChunk(effect.chunk);
      else this.#apply(effect.sums);
    } catch (error) {
      this.#refuse(codedError(error));
    }
  }
  #addChunk(chunk: Extract<ServerMessage, { type: 'chunk' }>): void {
    this.#pending?.add(chunk);
    this.#reportProgress(0);
  }
  #apply(sums: readonly BucketSum[]): void {
    const { replica, clock, onApplied } = this.#options;
    const pending = this.#pending;
    if (!pending) return;
    const applied = replica.apply({
      pending,
      sums,
      nowMs: clock.nowMs(),
      onProgress: (ops) => this.#reportProgress(ops),
    });
    this.#setPending(undefined);
    const { epoch, lsn } = applied.checkpoint;
    this.#dispatch({ type: 'applied', epoch, lsn });
    onApplied(applied);
    this.#afterSettling(applied.settlement);
  }
  #afterSettling({ isForeign, lost }: Settlement): void {
    // The server knows this connection by the id of before.
    if (isForeign) this.#dispatch({ type: 'socket-closed', reason: '' });
    else if (lost > 0) this.#uploads.renumbered();
    this.#uploads.pump();
  }
  #refuse(error: unknown): void {
    if (error instanceof ChecksumMismatch)
      this.#dispatch({ type: 'refused', code: 'CHECKSUM_MISMATCH', mismatched: error.buckets });
    else if (isAppError(error)) {
      // Bytes that cannot be taken would come again as they are, unless their buckets are asked for anew.
      const extended = this.#pending?.head.extend.map(({ bucket }) => bucket) ?? [];
      const mismatched = error.code === 'CLIENT_CHUNK_INVALID' ? extended : [];
      this.#dispatch({ type: 'refused', code: error.code, mismatched });
      if (error.code === 'CLIENT_STORAGE_CORRUPT') this.#options.onCorrupt();
    } else throw error;
  }
  #setPending(pending: PendingCheckpoint | undefined): void {
    if (this.#pending !== undefined && pending === undefined) this.#options.onProgress(undefined);
    this.#pending = pending;
    this.#reportProgress(0);
  }
  #reportProgress(opsDone: number): void {
    const pending = this.#pending;
    if (!pending) return;
    const { totalOps, totalBytes } = pending.head;
    this.#options.onProgress({ opsDone, opsTotal: totalOps, bytesDone: pending.bytes, bytesTotal: totalBytes });
  }

  #fetchToken(request: number): void {
    // Called inside `then`, so that an app's callback that throws is a rejection too.
    Promise.resolve()
      .then(() => this.#options.fetchToken())
      .then(
        (token) =>
          this.#dispatch(
            typeof token === 'string' ? { type: 'token', request, token } : { type: 'token-failed', request },
          ),
        () => this.#dispatch({ type: 'token-failed', request }),
      );
  }

  #openSocket(): void {
    let socket: WebSocketLike;
    try {
      socket = this.#options.openSocket(SUBPROTOCOL_BINARY);
    } catch {
      this.#dispatch({ type: 'socket-closed', reason: '' });
      return;
    }
    socket.binaryType = 'arraybuffer';
    const ifCurrent = (event: ConnectionEvent): void => {
      if (this.#socket === socket) this.#dispatch(event);
    };
    socket.onopen = () => ifCurrent({ type: 'socket-open' });
    socket.onclose = (event: { readonly reason?: unknown } | undefined) =>
      ifCurrent({ type: 'socket-closed', reason: typeof event?.reason === 'string' ? event.reason : '' });
    // A close event follows; without a listener some implementations end the process.
    socket.onerror = () => undefined;
    socket.onmessage = (event: { readonly data: unknown }) => ifCurrent(eventFromData(event.data));
    this.#socket = socket;
  }
  #closeSocket(): void {
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.close(1000);
  }
  #sendHello({ token, distrusted }: Extract<ConnectionEffect, { type: 'send-hello' }>): void {
    const { replica, project, sdk } = this.#options;
    const resume = distrusted === 'all' ? undefined : replica.resumePoint(distrusted);
    const { clientId } = replica;
    this.#send({ type: 'hello', version: PROTOCOL_VERSION, project, token, clientId, sdk, resume });
  }
  #send(message: ClientMessage): void {
    try {
      this.#socket?.send(encodeClientMessage(message));
    } catch {
      this.#dispatch({ type: 'socket-closed', reason: '' });
    }
  }
}

function eventFromData(data: unknown): ConnectionEvent {
  if (!(data instanceof ArrayBuffer)) return { type: 'unreadable', code: 'CLIENT_FRAME_MALFORMED' };
  if (data.byteLength > LIMITS.serverMessageBytesMax) return { type: 'unreadable', code: 'CLIENT_FRAME_TOO_LARGE' };
  try {
    return { type: 'message', message: decodeServerMessage(new Uint8Array(data)) };
  } catch (error) {
    if (!(error instanceof MalformedBytesError)) throw error;
    return { type: 'unreadable', code: 'CLIENT_FRAME_MALFORMED' };
  }
}
