import {
  type BucketId,
  ByteWriter,
  lsnFromBigint,
  parseEpoch,
  parseStreamNo,
  rowHash,
  tableSeed,
  writeIntCell,
  writeTextCell,
} from '@sluice/domain';
import {
  appendOp,
  CODEC_STORED,
  decodeClientMessage,
  encodeServerMessage,
  OP_PUT,
  PROTOCOL_VERSION,
  type ServerMessage,
} from '@sluice/protocol';
import type { WebSocketLike } from '../core/sync/sync-driver.ts';
import { systemClock } from '../system-clock.ts';

export interface LoopbackOptions {
  readonly rows: number;
  /** The LSN of the last checkpoint; each one before gives every row its LSN as version. */
  readonly lastLsn: number;
}
const TABLE = 'items';
const BUCKET = '0'.repeat(32) as BucketId;
const OPS_PER_CHUNK = 100;
const TEXT = new TextEncoder().encode('some text that makes the row longer than a cell or two');

/**
 * A gateway in the same thread, whose data is a function of the LSN: at checkpoint n every row has version n. What a client
 * claims to hold comes back as the `source` message's rowsDone (its LSN) and rowsEstimate (its number of buckets).
 */
export class LoopbackSocket implements WebSocketLike {
  binaryType = 'arraybuffer';
  readonly protocol = '';
  onopen: ((event: never) => void) | null = null;
  onclose: ((event: never) => void) | null = null;
  onerror: ((event: never) => void) | null = null;
  onmessage: ((event: never) => void) | null = null;
  readonly #options: LoopbackOptions;
  #isOpen = true;

  constructor(options: LoopbackOptions) {
    this.#options = options;
    later(() => this.onopen?.(undefined as never));
  }

  send(data: Uint8Array<ArrayBuffer>): void {
    const message = decodeClientMessage(data);
    if (message.type === 'hello') {
      const { resume } = message;
      this.#reply({ type: 'welcome', version: PROTOCOL_VERSION, session: 'loopback', pingIntervalMs: 30_000 });
      this.#reply({
        type: 'source',
        state: 'live',
        code: '',
        rowsDone: Number(resume?.lsn ?? 0n),
        rowsEstimate: resume?.buckets.length ?? 0,
      });
      this.#reply(SCHEMA);
      this.#next(Number(resume?.lsn ?? 0n) + 1, resume !== undefined);
    } else if (message.type === 'applied') this.#next(Number(message.lsn) + 1, true);
  }
  close(): void {
    this.#isOpen = false;
  }

  #reply(message: ServerMessage): void {
    const data = encodeServerMessage(message).slice().buffer;
    later(() => {
      if (this.#isOpen) this.onmessage?.({ data } as never);
    });
  }
  #next(lsn: number, isHeld: boolean): void {
    if (lsn > this.#options.lastLsn) return;
    const position = { epoch: parseEpoch(1), lsn: lsnFromBigint(BigInt(lsn)) };
    const announced = [{ no: 1, bucket: BUCKET, stream: parseStreamNo(1) }];
    const { chunks, checksum } = content(lsn, this.#options.rows);
    this.#reply({
      type: 'checkpoint',
      ...position,
      committedAtMs: lsn,
      reset: !isHeld,
      drop: [],
      replace: isHeld ? [] : announced,
      extend: isHeld ? announced : [],
      totalOps: this.#options.rows,
      totalBytes: chunks.reduce((total, chunk) => total + chunk.payload.length, 0),
    });
    for (const chunk of chunks) this.#reply(chunk);
    this.#reply({ type: 'checkpoint-end', ...position, sums: [{ no: 1, checksum, rows: this.#options.rows }] });
  }
}

/** In a task of its own, as a network's messages come. */
function later(work: () => void): void {
  systemClock.setTimer(0, work);
}

const SCHEMA: ServerMessage = {
  type: 'schema',
  tables: [
    {
      name: TABLE,
      keyColumns: 1,
      columns: [
        { name: 'id', sqliteType: 'INTEGER', pgType: 'int4' },
        { name: 'version', sqliteType: 'INTEGER', pgType: 'int4' },
        { name: 'filler', sqliteType: 'TEXT', pgType: 'text' },
      ],
    },
  ],
  streams: [{ stream: parseStreamNo(1), name: 'items', table: TABLE }],
};

function content(lsn: number, rows: number): { chunks: Extract<ServerMessage, { type: 'chunk' }>[]; checksum: bigint } {
  const chunks: Extract<ServerMessage, { type: 'chunk' }>[] = [];
  const row = new ByteWriter(256);
  const payload = new ByteWriter(16 * 1024);
  let checksum = 0n;
  let ops = 0;
  for (let id = 1; id <= rows; id++) {
    row.reset();
    writeIntCell(row, id);
    writeIntCell(row, lsn);
    writeTextCell(row, TEXT);
    checksum = BigInt.asUintN(64, checksum + rowHash(tableSeed(TABLE), row.take()));
    appendOp(payload, OP_PUT, row.bytes, 0, row.length);
    if (++ops < OPS_PER_CHUNK && id < rows) continue;
    const bytes = payload.take();
    chunks.push({ type: 'chunk', no: 1, codec: CODEC_STORED, ops, payloadBytes: bytes.length, payload: bytes });
    payload.reset();
    ops = 0;
  }
  return { chunks, checksum };
}
