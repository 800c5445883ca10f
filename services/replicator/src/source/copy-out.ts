import { assert } from '@sluice/errors';
import type { Client } from 'pg';
import { connectionOf } from './connection.ts';
import { CopyBothReader } from './copy-both-reader.ts';

/** Takes what a COPY sends, in order. Bytes are only valid during the call. */
export interface CopyOutSink {
  data(source: Uint8Array, start: number, end: number): void;
  /** True when it wants no more until the caller has looked at it. */
  readonly isFull: boolean;
}

/** A payload is a line; longer ones are handed over in pieces. */
const payloadBytesMax = 256 * 1024;

/**
 * Runs `COPY ... TO STDOUT` on an idle client and hands what it copies to the sink, straight from the socket's chunks: the
 * driver would make objects of every row. Yields whenever the sink is full, and reads on when asked for the next. Whoever ends it
 * early must end the client as well. @throws what the driver throws
 */
export async function* copyOut(client: Client, sql: string, sink: CopyOutSink): AsyncGenerator<void, void, undefined> {
  const copy = new CopyOut(client, sink);
  try {
    copy.begin(sql);
    while (await copy.untilFull()) {
      yield;
      copy.resume();
    }
  } finally {
    copy.giveBack();
  }
}

class CopyOut {
  private readonly client: Client;
  private readonly sink: CopyOutSink;
  private readonly reader: CopyBothReader;
  private readonly passOn: (chunk: Buffer) => void;
  private readonly onData = (chunk: Buffer): void => this.chunk(chunk);
  private failure: { readonly error: unknown } | undefined;
  private isEnded = false;
  private wake = (): void => {};

  /** Stands between the client's socket and the client. */
  constructor(client: Client, sink: CopyOutSink) {
    this.client = client;
    this.sink = sink;
    const { stream } = connectionOf(client);
    const listeners = stream.listeners('data') as ((chunk: Buffer) => void)[];
    const [passOn] = listeners;
    assert(passOn && listeners.length === 1, 'the client listens to its socket once');
    this.passOn = passOn;
    const data = (source: Uint8Array, start: number, end: number): void => sink.data(source, start, end);
    this.reader = new CopyBothReader(payloadBytesMax, {
      copyData: (source, _view, start, end) => data(source, start, end),
      largeBegin: () => {},
      largePart: data,
      largeEnd: () => {},
      // The client sees the messages that begin and end the copy, so for it this is a statement without rows.
      other: passOn,
    });
    stream.removeListener('data', passOn);
    stream.on('data', this.onData);
  }

  begin(sql: string): void {
    this.client.query(sql).then(
      () => {
        this.isEnded = true;
        this.wake();
      },
      (error: unknown) => this.fail(error),
    );
  }

  /** True when the sink is full, false when the copy is over. @throws what the driver throws */
  async untilFull(): Promise<boolean> {
    while (!this.failure && !this.isEnded && !this.sink.isFull)
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    if (this.failure) throw this.failure.error;
    return !this.isEnded;
  }

  resume(): void {
    connectionOf(this.client).stream.resume();
  }

  giveBack(): void {
    const { stream } = connectionOf(this.client);
    stream.removeListener('data', this.onData);
    stream.on('data', this.passOn);
    stream.resume();
  }

  private chunk(chunk: Buffer): void {
    if (this.failure) return;
    try {
      this.reader.push(chunk);
    } catch (error) {
      this.fail(error);
    }
    if (!this.sink.isFull) return;
    connectionOf(this.client).stream.pause();
    this.wake();
  }

  private fail(error: unknown): void {
    this.failure ??= { error };
    this.wake();
  }
}
