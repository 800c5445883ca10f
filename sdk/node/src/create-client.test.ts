import { once } from 'node:events';
import fs from 'node:fs';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import {
  type BucketId,
  ByteWriter,
  lsnFromBigint,
  parseEpoch,
  parseStreamNo,
  rowHash,
  tableSeed,
  writeIntCell,
} from '@sluice/domain';
import {
  appendOp,
  type ClientMessage,
  CODEC_STORED,
  decodeClientMessage,
  encodeServerMessage,
  OP_PUT,
  PROTOCOL_VERSION,
  type ServerMessage,
} from '@sluice/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type WebSocket, WebSocketServer } from 'ws';
import { createClient } from './create-client.ts';
import type { SluiceClient, Status } from './index.ts';

const BUCKET = 'ab'.repeat(16) as BucketId;
const announced = [{ no: 1, bucket: BUCKET, stream: parseStreamNo(1) }];

/** A gateway whose checkpoint n holds the one row (1, n). */
class TinyGateway {
  readonly #server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  readonly hellos: Extract<ClientMessage, { type: 'hello' }>[] = [];
  readonly #sockets = new Set<WebSocket>();
  lsn = 1;

  constructor() {
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
      socket.on('message', (data: Buffer) => this.#receive(socket, decodeClientMessage(new Uint8Array(data))));
    });
  }
  async listening(): Promise<void> {
    if (!this.#server.address()) await once(this.#server, 'listening');
  }
  get url(): string {
    return `ws://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }
  #receive(socket: WebSocket, message: ClientMessage): void {
    if (message.type !== 'hello') return;
    this.hellos.push(message);
    const send = (reply: ServerMessage): void => socket.send(encodeServerMessage(reply));
    send({ type: 'welcome', version: PROTOCOL_VERSION, session: 's', pingIntervalMs: 20_000 });
    const column = (name: string) => ({ name, sqliteType: 'INTEGER', pgType: 'int4' }) as const;
    send({
      type: 'schema',
      tables: [{ name: 't', keyColumns: 1, columns: [column('id'), column('version')] }],
      streams: [{ stream: parseStreamNo(1), name: 's', table: 't' }],
    });
    this.#sendCheckpoint(socket, message.resume === undefined);
  }
  #sendCheckpoint(socket: WebSocket, isFirst: boolean): void {
    const position = { epoch: parseEpoch(1), lsn: lsnFromBigint(BigInt(this.lsn)) };
    const row = new ByteWriter(16);
    writeIntCell(row, 1);
    writeIntCell(row, this.lsn);
    const payload = new ByteWriter(32);
    appendOp(payload, OP_PUT, row.bytes, 0, row.length);
    const bytes = payload.take();
    const messages: ServerMessage[] = [
      {
        type: 'checkpoint',
        ...position,
        committedAtMs: this.lsn,
        reset: isFirst,
        drop: [],
        replace: isFirst ? announced : [],
        extend: isFirst ? [] : announced,
        totalOps: 1,
        totalBytes: bytes.length,
      },
      { type: 'chunk', no: 1, codec: CODEC_STORED, ops: 1, payloadBytes: bytes.length, payload: bytes },
      {
        type: 'checkpoint-end',
        ...position,
        sums: [{ no: 1, checksum: rowHash(tableSeed('t'), row.take()), rows: 1 }],
      },
    ];
    for (const message of messages) socket.send(encodeServerMessage(message));
  }
  publish(): void {
    this.lsn++;
    for (const socket of this.#sockets) this.#sendCheckpoint(socket, false);
  }
  dropAll(): void {
    for (const socket of this.#sockets) socket.terminate();
  }
  close(): Promise<void> {
    this.dropAll();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }
}

function until(client: SluiceClient, isTrue: (status: Status) => boolean): Promise<Status> {
  return new Promise((resolve) => {
    const stop = client.onStatus((status) => {
      if (!isTrue(status)) return;
      queueMicrotask(() => stop());
      resolve(status);
    });
  });
}

describe('client in Node', () => {
  let gateway: TinyGateway;
  let folder: string;
  beforeEach(async () => {
    gateway = new TinyGateway();
    await gateway.listening();
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sluice-node-'));
  });
  afterEach(async () => {
    await gateway.close();
    fs.rmSync(folder, { recursive: true, force: true });
  });
  const options = () => ({ url: gateway.url, project: 'demo', auth: () => 'jwt' });

  test('L12: it syncs over a real socket, reconnects by itself and a file resumes where it was', async () => {
    const file = path.join(folder, 'user.db');
    const client = await createClient({ ...options(), file });
    const seen: unknown[] = [];
    client.live('SELECT version FROM t', [], (rows, { checkpoint }) => seen.push([rows, checkpoint?.committedAtMs]));
    client.connect();
    await client.ready();
    gateway.publish();
    await until(client, ({ checkpoint }) => checkpoint?.committedAtMs === 2);
    gateway.dropAll();
    await until(client, ({ connection }) => connection === 'offline');
    gateway.lsn++;
    await until(client, ({ checkpoint }) => checkpoint?.committedAtMs === 3);
    expect(seen).toEqual([1, 2, 3].map((version) => [[{ version }], version]));
    expect(client.status()).toMatchObject({ connection: 'connected', storage: 'file', lastError: undefined });
    await client.close();

    const again = await createClient({ ...options(), file });
    await again.ready();
    expect(await again.query('SELECT * FROM t')).toEqual([{ id: 1, version: 3 }]);
    expect(await again.verify()).toMatchObject({ ok: true, rows: 1 });
    again.connect();
    gateway.lsn++;
    await until(again, ({ checkpoint }) => checkpoint?.committedAtMs === 4);
    expect(gateway.hellos.map(({ resume }) => resume?.lsn)).toEqual([undefined, 2n, 3n]);
    expect(new Set(gateway.hellos.map(({ clientId }) => clientId)).size).toBe(1);
    await expect(createClient({ ...options(), file })).rejects.toMatchObject({ code: 'CLIENT_STORAGE_BUSY' });
    await again.signOut();
    await again.close();
  });

  test('a damaged file is erased and loaded again', async () => {
    const file = path.join(folder, 'user.db');
    fs.writeFileSync(file, 'this is no database, and long enough to look like one'.repeat(300));
    const client = await createClient({ ...options(), file });
    expect(client.status().checkpoint).toBeUndefined();
    client.connect();
    await client.ready();
    expect(await client.query('SELECT version FROM t')).toEqual([{ version: 1 }]);
    await client.close();
  });

  test('100 clients share one SQLite instance and each gets every checkpoint', async () => {
    const clients = await Promise.all(Array.from({ length: 100 }, () => createClient(options())));
    for (const client of clients) client.connect();
    await Promise.all(clients.map((client) => client.ready()));
    gateway.publish();
    await Promise.all(clients.map((client) => until(client, ({ checkpoint }) => checkpoint?.committedAtMs === 2)));
    for (const client of clients) expect(await client.query('SELECT version FROM t')).toEqual([{ version: 2 }]);
    await Promise.all(clients.map((client) => client.close()));
  });

  test('an unreachable gateway, a callback that throws and bad options each have their code', async () => {
    const client = await createClient({ ...options(), url: 'ws://127.0.0.1:1' });
    client.connect();
    expect((await until(client, ({ lastError }) => lastError !== undefined)).lastError?.code).toBe(
      'CLIENT_CONNECTION_LOST',
    );
    await client.close();
    await expect(client.query('SELECT 1')).rejects.toMatchObject({ code: 'CLIENT_CLOSED' });
    const refusing = await createClient({
      ...options(),
      auth: () => {
        throw new Error('signed out');
      },
    });
    refusing.connect();
    expect((await until(refusing, ({ lastError }) => lastError !== undefined)).lastError?.code).toBe(
      'CLIENT_AUTH_FAILED',
    );
    await refusing.close();
    for (const bad of [{ url: 'http://x' }, { project: '' }, { auth: 'token' as never }])
      await expect(createClient({ ...options(), ...bad })).rejects.toMatchObject({ code: 'CLIENT_OPTIONS_INVALID' });
  });
});
