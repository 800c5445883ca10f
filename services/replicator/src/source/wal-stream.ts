import { Socket } from 'node:net';
import { type Clock, formatLsn, type Lsn, lsnFromBigint } from '@sluice/domain';
import { AppError, assert } from '@sluice/errors';
import { CopyDataFrame, FRAME, readCopyData } from '@sluice/pgoutput';
import type { SourceConnection } from '@sluice/source-connection';
import { connectError, sourceError } from '@sluice/source-connection';
import type { Client } from 'pg';
import { LogicalReplicationService } from 'pg-logical-replication';
import { connectionOf, readerConfig } from './connection.ts';
import { CopyBothReader } from './copy-both-reader.ts';
import { quoteIdentifier, quoteLiteral } from './quote.ts';
import { StandbyStatus } from './standby-status.ts';

/** Takes pgoutput messages in the order of the stream. Bytes are only valid during the call. */
export interface WalSink {
  message(source: Uint8Array, view: DataView, start: number, end: number): void;
  /** A message that is too large to hold begins, goes on, ends. */
  largeBegin(messageBytes: number): void;
  largePart(source: Uint8Array, start: number, end: number): void;
  largeEnd(): void;
  /**
   * Everything that the socket had so far was handed over.
   * @param sentAtUs the server's clock when it sent the last message, microseconds since 2000
   */
  drained(sentAtUs: bigint): void;
  /** True while old transactions are read, when throughput counts more than latency. */
  readonly isBehind: boolean;
}

export interface WalStreamOptions {
  readonly connection: SourceConnection;
  readonly slot: string;
  readonly publication: string;
  /** Where to start; the server starts at the slot's confirmed LSN when that is greater. */
  readonly startLsn: Lsn;
  readonly clock: Clock;
  readonly sink: WalSink;
  readonly confirmed: () => Lsn;
  /** As the server has it; 0 when it never cuts a silent receiver. */
  readonly walSenderTimeoutMs: number;
  /** Longer messages are handed over in parts. */
  readonly messageBytesMax: number;
}

const statusIntervalMaxMs = 10_000;
/** The server answers each status; after this many without a byte it is taken for gone. */
const silentStatusesMax = 3;
/** Reading at most one chunk a millisecond lets the server fill its buffer, and halves its work while catching up. */
const behindPauseMs = 1;
/** Chunks below this size while catching up say that the server sends as fast as we read. */
const fullChunkBytes = 48 * 1024;
const ZERO = lsnFromBigint(0n);
/** CopyData header of a WAL message: kind, start LSN, end LSN, send time. */
const XLOG_HEADER_BYTES = 25;
const SEND_TIME_AT = 17;
const COPY_BOTH_RESPONSE = 0x57; // W

/**
 * Reads one slot. The replication library opens the connection, signs in, starts replication and carries our answers;
 * between its socket and its parser stands our own reader, so its parser, its acknowledgements and its queue see no
 * data at all: they confirm what is not durable, and confirm one byte too many (L2).
 */
export class WalStream {
  private readonly options: WalStreamOptions;
  private readonly service: LogicalReplicationService;
  private readonly status: StandbyStatus;
  private readonly frame = new CopyDataFrame();
  private readonly reader: CopyBothReader;
  private plainSocket: Socket | undefined;
  /** The connection's stream once it carries WAL: the plain socket, or TLS on top of it. */
  private socket: Socket | undefined;
  private received = ZERO;
  private isStreaming = false;
  private isHeld = false;
  private isPausing = false;
  private isSilent = true;
  private silentChecks = 0;
  private largeHeader = 0;
  private sentAtHi = 0;
  private sentAtLo = 0;
  private failure: Error | undefined;
  private cancelWatch = (): void => {};
  private passOn: (message: Buffer) => void = () => {};
  private sendPayload: (payload: Uint8Array<ArrayBuffer>) => void = () => {};

  constructor(options: WalStreamOptions) {
    this.options = options;
    // The library cannot be stopped while it connects; destroying its socket always works.
    const stream = (): Socket => {
      this.plainSocket = new Socket();
      return this.plainSocket;
    };
    this.service = new LogicalReplicationService(
      { ...readerConfig(options.connection), stream },
      { acknowledge: { auto: false, timeoutSeconds: 0 } },
    );
    // Every error also ends `subscribe`, which is where it is handled.
    this.service.on('error', () => {});
    hearClientErrors(this.service);
    this.reader = new CopyBothReader(options.messageBytesMax, this);
    this.status = new StandbyStatus({
      clock: options.clock,
      intervalMs: this.statusIntervalMs,
      send: (payload) => this.sendPayload(payload),
      received: () => this.received,
      confirmed: options.confirmed,
    });
  }

  /** Streams until the signal is aborted or the connection ends. @throws AppError, and whatever the sink throws */
  async run(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    const abort = (): void => void this.plainSocket?.destroy();
    signal.addEventListener('abort', abort);
    try {
      const { slot, startLsn } = this.options;
      await this.service.subscribe(this.plugin(), slot, formatLsn(startLsn));
      if (!signal.aborted) throw new AppError('SOURCE_UNREACHABLE', { internal: 'the source ended the stream' });
    } catch (error) {
      if (this.failure !== undefined) throw this.failure;
      if (!signal.aborted) throw this.socket ? sourceError(error) : connectError(error);
    } finally {
      signal.removeEventListener('abort', abort);
      this.cancelWatch();
      this.status.stop();
      this.plainSocket?.destroy();
      await this.service.destroy().catch(() => {});
    }
  }

  /** Stops reading, for back-pressure; status messages go on. */
  hold(): void {
    this.isHeld = true;
    this.socket?.pause();
  }
  release(): void {
    this.isHeld = false;
    this.silentChecks = 0;
    if (!this.isPausing) this.socket?.resume();
  }
  /** What is confirmed may have moved. */
  confirmedMoved(): void {
    if (this.isStreaming) this.status.sendSoon();
  }

  /** Says at once what is confirmed. */
  confirmNow(): void {
    if (this.isStreaming) this.status.sendNow();
  }

  private get statusIntervalMs(): number {
    const { walSenderTimeoutMs } = this.options;
    return walSenderTimeoutMs > 0 ? Math.min(statusIntervalMaxMs, walSenderTimeoutMs / 3) : statusIntervalMaxMs;
  }

  private fail(error: unknown): void {
    this.failure ??= error instanceof Error ? error : new Error('thrown without an error', { cause: error });
    this.plainSocket?.destroy();
  }

  /** What the library calls an output plugin; it checks only the shape. */
  private plugin(): Parameters<LogicalReplicationService['subscribe']>[0] {
    const { slot, publication } = this.options;
    return {
      name: 'pgoutput',
      options: {},
      parse: () => assert(false, 'the library must not see data'),
      start: async (client: Client, _slot: string, startLsn: string) => {
        this.takeOver(client);
        const publications = quoteLiteral(quoteIdentifier(publication));
        await client.query(
          `START_REPLICATION SLOT ${quoteIdentifier(slot)} LOGICAL ${startLsn} (proto_version '1', publication_names ${publications}, messages 'true')`,
        );
      },
    };
  }

  /** The client is connected and idle, so the next byte from the server begins a message. */
  private takeOver(client: Client): void {
    const connection = connectionOf(client);
    const { stream } = connection;
    const listeners = stream.listeners('data') as ((chunk: Buffer) => void)[];
    const [passOn] = listeners;
    assert(passOn && listeners.length === 1, 'the client listens to its socket once');
    stream.removeListener('data', passOn);
    stream.on('data', (chunk: Buffer) => this.chunk(chunk));
    this.passOn = passOn;
    this.sendPayload = (payload) => connection.sendCopyFromChunk(Buffer.from(payload.buffer));
    this.socket = stream;
  }

  private chunk(chunk: Buffer): void {
    this.isSilent = false;
    if (this.failure !== undefined) return;
    try {
      this.reader.push(chunk);
      this.options.sink.drained((BigInt(this.sentAtHi) << 32n) | BigInt(this.sentAtLo));
    } catch (error) {
      this.fail(error);
      return;
    }
    if (this.options.sink.isBehind && chunk.length < fullChunkBytes) this.pauseBriefly();
  }

  private pauseBriefly(): void {
    if (this.isPausing || this.isHeld) return;
    this.isPausing = true;
    this.socket?.pause();
    this.options.clock.setTimer(behindPauseMs, () => {
      this.isPausing = false;
      if (!this.isHeld) this.socket?.resume();
    });
  }

  // --- messages of the connection, from the reader

  other(message: Buffer): void {
    const isStart = message[0] === COPY_BOTH_RESPONSE;
    this.passOn(message);
    if (!isStart) return;
    this.isStreaming = true;
    this.status.start();
    this.watchSilence();
  }

  copyData(source: Uint8Array, view: DataView, start: number, end: number): void {
    const { frame } = this;
    readCopyData(source, view, start, end, frame);
    if (frame.kind === FRAME.keepalive) {
      this.noteReceived(frame.walEnd);
      if (frame.replyRequested) this.status.sendNow();
      return;
    }
    this.sentAtHi = view.getInt32(start + SEND_TIME_AT);
    this.sentAtLo = view.getUint32(start + SEND_TIME_AT + 4);
    this.options.sink.message(source, view, frame.messageStart, frame.messageEnd);
  }

  largeBegin(payloadBytes: number): void {
    this.largeHeader = XLOG_HEADER_BYTES;
    this.options.sink.largeBegin(payloadBytes - XLOG_HEADER_BYTES);
  }
  largePart(source: Uint8Array, start: number, end: number): void {
    const skip = Math.min(this.largeHeader, end - start);
    this.largeHeader -= skip;
    if (start + skip < end) this.options.sink.largePart(source, start + skip, end);
  }
  largeEnd(): void {
    this.options.sink.largeEnd();
  }

  private noteReceived(lsn: Lsn): void {
    if (lsn > this.received) this.received = lsn;
  }

  /** A link can die without a word: the server answers our status messages, so silence means that it is gone. */
  private watchSilence(): void {
    this.cancelWatch = this.options.clock.setTimer(this.statusIntervalMs, () => {
      this.silentChecks = this.isSilent && !this.isHeld ? this.silentChecks + 1 : 0;
      this.isSilent = true;
      if (this.silentChecks >= silentStatusesMax)
        this.fail(new AppError('SOURCE_UNREACHABLE', { internal: 'the source fell silent' }));
      else this.watchSilence();
    });
  }
}

/**
 * The library listens for errors of its client only after the client said that it has connected. One that the server sends in
 * the same breath (it is shut down, or somebody ends the session) would be heard by nobody, and end the process.
 */
function hearClientErrors(service: LogicalReplicationService): void {
  let held: Client | null = null;
  Object.defineProperty(service, '_client', {
    get: () => held,
    set: (client: Client | null) => {
      client?.on('error', () => {});
      held = client;
    },
  });
}
