import {
  type BucketId,
  ByteWriter,
  type CellValue,
  type Epoch,
  type Lsn,
  type StreamNo,
  writeCell,
} from '@sluice/domain';
import { appendOp, CODEC_DEFLATE_RAW, CODEC_STORED, OP_PUT, OP_REMOVE } from './chunk.ts';
import type { ClientMessage, ServerMessage } from './messages.ts';
import { encodeMutations } from './mutations.ts';

const bucketA = '000102030405060708090a0b0c0d0e0f' as BucketId;
const bucketB = 'ffeeddccbbaa99887766554433221100' as BucketId;
const epoch = 3 as Epoch;
const lsn = 0x16b374d848n as Lsn;

/** A put of the row (7, 'héllo', NULL, 2^60, x'00ff', 1.5) and a remove of the key 8. */
export function samplePayload(): Uint8Array {
  const row = new ByteWriter(64);
  for (const value of [7, 'héllo', null, 2n ** 60n, new Uint8Array([0, 255]), 1.5]) writeCell(row, value);
  const key = new ByteWriter(8);
  writeCell(key, 8);
  const out = new ByteWriter(128);
  appendOp(out, OP_PUT, row.bytes, 0, row.length);
  appendOp(out, OP_REMOVE, key.bytes, 0, key.length);
  return out.take();
}

/** One mutation of each kind. */
export function sampleMutations(): Uint8Array {
  const one = cells(1);
  const changed = { column: 'body', value: cells('new'), previous: cells('old') };
  const added = { column: 'ratio', value: cells(1.5), previous: undefined };
  const removed = { column: 'body', value: undefined, previous: cells(null) };
  return encodeMutations([
    { kind: 'insert', table: 'docs', key: one, keyCells: 1, columns: [added] },
    { kind: 'update', table: 'docs', key: one, keyCells: 1, columns: [changed] },
    { kind: 'delete', table: 'links', key: cells('a', 2n ** 60n), keyCells: 2, columns: [removed] },
    { kind: 'upsert', table: 'docs', key: one, keyCells: 1, columns: [changed, added] },
  ]);
}
function cells(...values: readonly CellValue[]): Uint8Array {
  const out = new ByteWriter(32);
  for (const value of values) writeCell(out, value);
  return out.take();
}

/** At least one of each message, with every optional part present and absent. Part of the format's fingerprint. */
export const clientSamples: readonly ClientMessage[] = [
  {
    type: 'hello',
    version: 1,
    project: 'demo',
    token: 'a.b.c',
    clientId: 'c-1',
    sdk: 'sluice-js/0.1.0',
    resume: undefined,
  },
  {
    type: 'hello',
    version: 1,
    project: 'demo',
    token: 'a.b.c',
    clientId: 'ünï',
    sdk: '',
    resume: { epoch, lsn, buckets: [bucketA, bucketB] },
  },
  { type: 'token', token: 'd.e.f' },
  { type: 'applied', epoch, lsn },
  { type: 'ping', nonce: 0xfffffffe },
  { type: 'upload', seq: 300, refusalsKept: 2, mutations: sampleMutations() },
];

export const serverSamples: readonly ServerMessage[] = [
  { type: 'welcome', version: 1, session: '9b2e', pingIntervalMs: 20_000 },
  {
    type: 'schema',
    tables: [
      {
        name: 'docs',
        keyColumns: 1,
        columns: [
          { name: 'id', sqliteType: 'INTEGER', pgType: 'integer' },
          { name: 'body', sqliteType: 'TEXT', pgType: 'text' },
          { name: 'raw', sqliteType: 'BLOB', pgType: 'bytea' },
          { name: 'ratio', sqliteType: 'ANY', pgType: 'double precision' },
        ],
      },
    ],
    streams: [{ stream: 5 as StreamNo, name: 'my_docs', table: 'docs' }],
  },
  {
    type: 'checkpoint',
    epoch,
    lsn,
    committedAtMs: 1_893_456_000_123.5,
    reset: true,
    drop: [bucketB],
    replace: [{ no: 41, bucket: bucketA, stream: 5 as StreamNo }],
    extend: [{ no: 268_435_455, bucket: bucketB, stream: 300 as StreamNo }],
    totalOps: 2,
    totalBytes: 1_000_000,
  },
  {
    type: 'checkpoint',
    epoch,
    lsn,
    committedAtMs: 0,
    reset: false,
    drop: [],
    replace: [],
    extend: [],
    totalOps: 0,
    totalBytes: 0,
  },
  {
    type: 'chunk',
    no: 41,
    codec: CODEC_STORED,
    ops: 2,
    payloadBytes: samplePayload().length,
    payload: samplePayload(),
  },
  { type: 'chunk', no: 41, codec: CODEC_DEFLATE_RAW, ops: 1, payloadBytes: 900, payload: new Uint8Array([3, 0]) },
  { type: 'checkpoint-end', epoch, lsn, sums: [{ no: 41, checksum: 0xfedcba9876543210n, rows: 1 }] },
  { type: 'error', code: 'AUTH_EXPIRED', message: 'The token has expired.', remedy: 'Give a fresh one.', fatal: true },
  { type: 'pong', nonce: 0xfffffffe },
  { type: 'token-expiring', inMs: 60_000 },
  { type: 'source', state: 'loading', code: '', rowsDone: 10, rowsEstimate: 100 },
  { type: 'source', state: 'stopped', code: 'SCHEMA_CHANGED', rowsDone: 0, rowsEstimate: 0 },
  { type: 'writes', state: 'read-only', code: 'WRITES_OFF' },
  { type: 'writes', state: 'enabled', code: '' },
  { type: 'upload-result', seq: 300, result: 'recorded', code: '', expected: 0 },
  { type: 'upload-result', seq: 7, result: 'gap', code: '', expected: 5 },
];
