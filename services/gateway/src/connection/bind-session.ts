import { type Clock, MalformedBytesError } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import {
  type ClientMessage,
  clientMessageFromJson,
  decodeClientMessage,
  decodeServerMessage,
  encodeServerMessage,
  jsonFromServerMessage,
  type ServerMessage,
} from '@sluice/protocol';
import type { RawData } from 'ws';
import { inflated } from '../payload.ts';
import type { Connection } from './listen.ts';
import { Outbox } from './outbox.ts';
import type { SendAccount } from './send-budget.ts';

export interface WireOptions {
  readonly connection: Connection;
  readonly clock: Clock;
  readonly account: SendAccount;
  readonly stalledMs: number;
  /** How long the other side may take to answer a close. */
  readonly closeWithinMs: number;
  readonly onMessage: (message: ClientMessage) => void;
  readonly onRefused: (error: AppError) => void;
  /** The other side is alive. */
  readonly onHeard: () => void;
  readonly onDisconnected: () => void;
}

/** One connection's messages, in the form that the client chose. */
export interface Wire {
  send(message: ServerMessage): void;
  /** Encoded messages that many connections share. */
  sendFrames(frames: readonly Uint8Array[]): Promise<void> | undefined;
  /** Whether `ready` would resolve at once. */
  readonly isReady: boolean;
  ready(): Promise<void>;
  ping(): void;
  close(error: AppError): void;
  readonly bytesSent: number;
}

/** The close code for an error that ends a session. */
export function closeCodeOf(error: AppError): number {
  const { close, retry } = error.definition;
  return close ?? (retry === 'retry' ? 1013 : 4400);
}

export function wireOf(options: WireOptions): Wire {
  const { connection, clock, account, stalledMs } = options;
  const { socket, stream, isJson } = connection;
  const onStalled = () => options.onRefused(new AppError('CLIENT_SLOW'));
  const outbox = new Outbox({ socket, stream, clock, account, stalledMs, onStalled });

  socket.on('message', (data, isBinary) => {
    if (isBinary === isJson) options.onRefused(new AppError('PROTOCOL_FRAME_TYPE'));
    else receive(bytesOf(data));
  });
  socket.on('pong', options.onHeard);
  socket.on('close', options.onDisconnected);
  socket.on('error', (error) => options.onRefused(protocolErrorFrom(error)));

  function receive(bytes: Uint8Array): void {
    let message: ClientMessage;
    try {
      message = isJson ? clientMessageFromJson(new TextDecoder().decode(bytes)) : decodeClientMessage(bytes);
    } catch (error) {
      const internal = error instanceof MalformedBytesError ? error.message : 'unreadable';
      options.onRefused(new AppError('PROTOCOL_MALFORMED', { internal }));
      return;
    }
    options.onMessage(message);
  }

  /** Text is made from the same frames: what a debugging client sees is what others get. */
  async function sendAsJson(frames: readonly Uint8Array[]): Promise<void> {
    for (const frame of frames) outbox.sendText(await jsonOf(decodeServerMessage(frame)));
  }

  let jsonTail: Promise<void> = Promise.resolve();
  function sendFrames(frames: readonly Uint8Array[]): Promise<void> | undefined {
    if (!isJson) {
      outbox.send(frames);
      return undefined;
    }
    // Inflating takes turns of the event loop, and messages must stay in order.
    jsonTail = jsonTail.then(() => sendAsJson(frames));
    jsonTail.catch(() => {});
    return jsonTail;
  }

  return {
    send(message) {
      if (outbox.isOpen) void sendFrames([encodeServerMessage(message)]);
    },
    sendFrames,
    get isReady() {
      return !isJson && outbox.isReady;
    },
    ready: () => (isJson ? jsonTail.then(() => outbox.ready()) : outbox.ready()),
    ping() {
      if (outbox.isOpen) socket.ping();
    },
    close(error) {
      if (!outbox.isOpen) return;
      const { code, message, remedy } = error.toPublic();
      const farewell: ServerMessage = { type: 'error', code, message, remedy, fatal: true };
      void Promise.resolve(sendFrames([encodeServerMessage(farewell)]))
        .catch(() => {})
        .finally(() => {
          socket.close(closeCodeOf(error), code);
          clock.setTimer(options.closeWithinMs, () => socket.terminate());
        });
    },
    get bytesSent() {
      return outbox.bytesSent;
    },
  };
}

async function jsonOf(message: ServerMessage): Promise<string> {
  if (message.type !== 'chunk') return jsonFromServerMessage(message);
  return jsonFromServerMessage({ ...message, codec: 0, payload: await inflated(message) });
}

function bytesOf(data: RawData): Uint8Array {
  if (Array.isArray(data)) return Buffer.concat(data);
  return data instanceof ArrayBuffer ? new Uint8Array(data) : data;
}

/** What the WebSocket library refused by itself; it has already begun to close the connection. */
function protocolErrorFrom(error: Error): AppError {
  const isTooLarge = 'code' in error && error.code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH';
  return new AppError(isTooLarge ? 'PROTOCOL_TOO_LARGE' : 'PROTOCOL_MALFORMED', { internal: error.message });
}
