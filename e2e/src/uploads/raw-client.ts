import { randomUUID } from 'node:crypto';
import { ByteWriter, type CellValue, writeCell } from '@sluice/domain';
import {
  type ClientMessage,
  decodeServerMessage,
  encodeClientMessage,
  encodeMutations,
  type Mutation,
  type MutationKind,
  PROTOCOL_VERSION,
  type ServerMessage,
  SUBPROTOCOL_BINARY,
} from '@sluice/protocol';
import { WebSocket } from 'ws';

type Of<K extends ServerMessage['type']> = Extract<ServerMessage, { type: K }>;

/** A client that speaks the wire by hand: it sends what it is told to, also what an SDK never would. */
export class RawClient implements AsyncDisposable {
  readonly clientId: string;
  readonly messages: ServerMessage[] = [];
  readonly closed: Promise<{ code: number; reason: string }>;
  readonly #socket: WebSocket;
  readonly #listeners = new Set<() => void>();
  #isClosed = false;

  private constructor(port: number, clientId: string) {
    this.clientId = clientId;
    this.#socket = new WebSocket(`ws://127.0.0.1:${port}/sync`, [SUBPROTOCOL_BINARY]);
    this.#socket.on('message', (data: Buffer) => {
      const message = decodeServerMessage(new Uint8Array(data));
      this.messages.push(message);
      if (message.type === 'checkpoint-end') this.send({ type: 'applied', epoch: message.epoch, lsn: message.lsn });
      this.#tell();
    });
    this.#socket.on('error', () => {});
    this.closed = new Promise((resolve) => {
      this.#socket.once('close', (code, reason) => {
        this.#isClosed = true;
        resolve({ code, reason: reason.toString() });
        this.#tell();
      });
    });
  }

  static async connect(at: { port: number; project: string; token: string; clientId?: string }): Promise<RawClient> {
    const client = new RawClient(at.port, at.clientId ?? randomUUID());
    await new Promise((resolve, reject) => {
      client.#socket.once('open', resolve);
      client.#socket.once('error', reject);
    });
    client.send({
      type: 'hello',
      version: PROTOCOL_VERSION,
      project: at.project,
      token: at.token,
      clientId: client.clientId,
      sdk: 'raw',
      resume: undefined,
    });
    return client;
  }

  send(message: ClientMessage): void {
    this.#socket.send(encodeClientMessage(message));
  }
  upload(seq: number, ...mutations: readonly Mutation[]): void {
    this.send({ type: 'upload', seq, refusalsKept: 0, mutations: encodeMutations(mutations) });
  }

  async writesAre(state: Of<'writes'>['state']): Promise<Of<'writes'>> {
    return this.#until(() => {
      const last = this.all('writes').at(-1);
      return last?.state === state ? last : undefined;
    });
  }
  /** The first so many results, once they are there. */
  async results(count: number): Promise<readonly Of<'upload-result'>[]> {
    return this.#until(() => {
      const results = this.all('upload-result');
      return results.length >= count ? results : undefined;
    });
  }
  all<K extends ServerMessage['type']>(type: K): Of<K>[] {
    return this.messages.filter((message): message is Of<K> => message.type === type);
  }

  #until<T>(find: () => T | undefined): Promise<T> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        const found = find();
        if (found === undefined && !this.#isClosed) return;
        this.#listeners.delete(look);
        if (found === undefined) reject(new Error('the connection ended'));
        else resolve(found);
      };
      this.#listeners.add(look);
      look();
    });
  }
  #tell(): void {
    for (const listener of [...this.#listeners]) listener();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.terminate();
    await this.closed;
  }
}

/** One mutation of a row with a key of one column; the values are all texts and integers. */
export function mutation(
  kind: MutationKind,
  table: string,
  key: CellValue,
  set: Readonly<Record<string, CellValue>> = {},
): Mutation {
  const columns = Object.entries(set).map(([column, value]) => ({ column, value: cell(value), previous: undefined }));
  return { kind, table, key: cell(key), keyCells: 1, columns };
}
function cell(value: CellValue): Uint8Array {
  const out = new ByteWriter(64);
  writeCell(out, value);
  return out.take();
}
