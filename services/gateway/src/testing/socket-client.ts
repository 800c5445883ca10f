import type { Epoch, Lsn } from '@sluice/domain';
import {
  type ClientMessage,
  encodeClientMessage,
  PROTOCOL_VERSION,
  type ServerMessage,
  SUBPROTOCOL_BINARY,
} from '@sluice/protocol';
import { WebSocket } from 'ws';
import { Replica } from './replica.ts';

export interface Closed {
  readonly code: number;
  readonly reason: string;
}

/** A client over a real socket: keeps what came, acknowledges checkpoints, answers nothing else by itself. */
export class SocketClient {
  readonly messages: ServerMessage[] = [];
  readonly replica: Replica;
  readonly socket: WebSocket;
  readonly closed: Promise<Closed>;
  readonly opened: Promise<void>;
  acknowledges = true;
  private listeners = new Set<() => void>();
  private isClosed = false;

  constructor(url: string, options: { replica?: Replica; origin?: string; protocols?: string[] } = {}) {
    this.replica = options.replica ?? new Replica();
    this.socket = new WebSocket(url, options.protocols ?? [SUBPROTOCOL_BINARY], {
      perMessageDeflate: false,
      ...(options.origin === undefined ? {} : { origin: options.origin }),
    });
    this.opened = new Promise((resolve, reject) => {
      this.socket.once('open', resolve);
      this.socket.once('error', reject);
    });
    this.opened.catch(() => {});
    this.closed = new Promise((resolve) => {
      this.socket.once('close', (code, reason) => {
        this.isClosed = true;
        this.replica.disconnect();
        resolve({ code, reason: reason.toString() });
        this.tell();
      });
    });
    this.socket.on('error', () => {});
    this.socket.on('message', (data: Buffer, isBinary) => {
      if (isBinary) this.onMessage(new Uint8Array(data));
    });
  }

  private onMessage(bytes: Uint8Array): void {
    const message = this.replica.receive(bytes);
    this.messages.push(message);
    if (message.type === 'checkpoint-end' && this.acknowledges) this.applied(message.epoch, message.lsn);
    this.tell();
  }
  private tell(): void {
    for (const listener of [...this.listeners]) listener();
  }

  send(message: ClientMessage): void {
    this.socket.send(encodeClientMessage(message));
  }
  applied(epoch: Epoch, lsn: Lsn): void {
    this.send({ type: 'applied', epoch, lsn });
  }
  async hello(token: string, fields: Partial<Extract<ClientMessage, { type: 'hello' }>> = {}): Promise<void> {
    await this.opened;
    this.send({
      type: 'hello',
      version: PROTOCOL_VERSION,
      project: 'demo',
      token,
      clientId: 'c',
      sdk: 'test',
      resume: this.replica.resume,
      ...fields,
    });
  }

  /** Resolves with what `find` gives, as soon as it gives something; rejects when the connection ends before. */
  until<T>(find: () => T | undefined | false): Promise<T> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        let found: T | undefined | false;
        try {
          found = find();
        } catch (error) {
          this.listeners.delete(look);
          reject(error);
          return;
        }
        if (found === undefined || found === false) {
          if (!this.isClosed) return;
          this.listeners.delete(look);
          reject(new Error('the connection ended'));
          return;
        }
        this.listeners.delete(look);
        resolve(found);
      };
      this.listeners.add(look);
      look();
    });
  }
  untilMessage<K extends ServerMessage['type']>(type: K): Promise<Extract<ServerMessage, { type: K }>> {
    return this.until(() =>
      this.messages.find((message): message is Extract<ServerMessage, { type: K }> => message.type === type),
    );
  }
  untilLsn(lsn: Lsn): Promise<true> {
    return this.until(() => (this.replica.lsn ?? 0n) >= lsn && (true as const));
  }
}
