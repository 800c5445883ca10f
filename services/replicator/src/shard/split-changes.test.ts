import { ByteWriter, type Lsn } from '@sluice/domain';
import {
  appendRecord,
  appendTransactionRecord,
  forEachRecord,
  RECORD_ORDINAL,
  RECORD_TRANSACTION,
  readOrdinalRecord,
  readTransactionRecord,
} from '@sluice/op-queue';
import {
  appendRelationMessage,
  MESSAGE,
  OLD,
  RowMessage,
  readMessage,
  readRowMessage,
  SLOT,
  type TupleSlots,
} from '@sluice/pgoutput';
import { type SeededRandom, seededRandom } from '@sluice/testkit';
import { describe, expect, it } from 'vitest';
import type { ShardMap } from './shard-map.ts';
import { ChangeSplitter } from './split-changes.ts';

const UNCHANGED = Symbol('unchanged');
type Value = string | null | typeof UNCHANGED;
type Values = readonly Value[];
const ITEMS = 7;
const PAIRS = 8;
const map: ShardMap = { version: 1, shards: 4, rowKeys: { 'public.items': ['id'], 'public.pairs': ['b', 'a'] } };

function relation(oid: number, columns: readonly string[]): Uint8Array {
  const out = new ByteWriter();
  const keyed = columns.map((name) => ({ name, typeOid: 25, typmod: -1, key: true }));
  const name = oid === ITEMS ? 'items' : 'pairs';
  appendRelationMessage(out, { oid, schema: 'public', name, replicaIdentity: 'f', columns: keyed });
  return out.take();
}
const items = relation(ITEMS, ['body', 'id']);
const pairs = relation(PAIRS, ['a', 'b']);

function tuple(out: ByteWriter, tag: number, values: Values): void {
  out.u8(tag);
  out.u8(0);
  out.u8(values.length);
  for (const value of values) {
    out.u8(value === null ? SLOT.null : value === UNCHANGED ? SLOT.unchanged : SLOT.text);
    if (typeof value !== 'string') continue;
    for (const byte of [0, 0, value.length >>> 8, value.length & 0xff]) out.u8(byte);
    out.raw(Buffer.from(value));
  }
}
function change(oid: number, row: { old?: Values; oldKind?: number; fresh?: Values }): Uint8Array {
  const out = new ByteWriter();
  const isUpdate = row.fresh && (row.old || row.oldKind === OLD.none);
  out.u8(isUpdate ? MESSAGE.update : row.fresh ? MESSAGE.insert : MESSAGE.delete);
  for (const byte of [0, 0, 0, oid]) out.u8(byte);
  if (row.old) tuple(out, row.oldKind ?? OLD.full, row.old);
  if (row.fresh) tuple(out, 0x4e, row.fresh);
  return out.take();
}
const truncate = (...oids: number[]): Uint8Array =>
  Uint8Array.from([MESSAGE.truncate, 0, 0, 0, oids.length, 0, ...oids.flatMap((oid) => [0, 0, 0, oid])]);

interface Transaction {
  readonly lsn: number;
  readonly ordinal: number;
  readonly messages: readonly Uint8Array[];
}
function frame(...transactions: readonly Transaction[]): Uint8Array {
  const out = new ByteWriter();
  for (const bytes of [items, pairs]) appendRecord(out, bytes);
  for (const { lsn, ordinal, messages } of transactions) {
    appendTransactionRecord(out, { commitLsn: BigInt(lsn) as Lsn, committedAtUs: 5n, ordinal });
    for (const message of messages) appendRecord(out, message);
  }
  return out.take();
}

/** A row or TRUNCATE of a share: where it stands, and what it says. */
interface Placed {
  readonly shard: number;
  readonly at: string;
  readonly text: string;
  readonly bytes: string;
}
/** Reads a share as a worker does. */
function read(changes: Uint8Array, shard: number): Placed[] {
  const view = new DataView(changes.buffer, changes.byteOffset, changes.length);
  const described = new Set<number>();
  const out: Placed[] = [];
  let [lsn, ordinal] = [0n, 0];
  forEachRecord(changes, view, (kind, start, end) => {
    const bytes = Buffer.from(changes.subarray(start, end));
    if (kind === RECORD_TRANSACTION) {
      ({ commitLsn: lsn, ordinal } = readTransactionRecord(changes, start, end));
    } else if (kind === RECORD_ORDINAL) {
      const next = readOrdinalRecord(view, start, end);
      expect(next).toBeGreaterThan(ordinal);
      ordinal = next;
    } else if (kind === MESSAGE.relation) described.add(bytes.readUInt32BE(1));
    else {
      for (const oid of oidsOf(bytes)) expect(described).toContain(oid);
      out.push({ shard, at: `${lsn} ${ordinal++}`, text: textOf(bytes), bytes: bytes.toString('hex') });
    }
  });
  return out;
}
function oidsOf(bytes: Buffer): readonly number[] {
  const message = bytes[0] === MESSAGE.truncate ? readMessage(bytes, viewOf(bytes), 0, bytes.length) : undefined;
  return message?.kind === 'truncate' ? message.relationOids : [bytes.readUInt32BE(1)];
}
function textOf(bytes: Buffer): string {
  if (bytes[0] === MESSAGE.truncate) return 'T';
  const row = new RowMessage();
  readRowMessage(bytes, viewOf(bytes), 0, bytes.length, row);
  const values = (slots: TupleSlots): string =>
    Array.from({ length: slots.count }, (_, i) =>
      slots.kind[i] === SLOT.text
        ? bytes.subarray(slots.start[i], slots.end[i]).toString()
        : String.fromCharCode(slots.kind[i] ?? 0).toUpperCase(),
    ).join();
  return `${String.fromCharCode(row.kind)} ${values(row.old)}>${values(row.new)}`;
}
const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
const split = (changes: Uint8Array, of: ShardMap = map): Placed[] =>
  new ChangeSplitter(of).split(changes).flatMap((share, shard) => read(share, shard));
const texts = (placed: readonly Placed[]): string[] => placed.map(({ at, text }) => `${at} ${text}`);
const inserted = (id: string): Uint8Array => change(ITEMS, { fresh: ['b', id] });

/** Two keys of different shards. */
function keysApart(): [string, string] {
  const placed = split(frame({ lsn: 1, ordinal: 1, messages: 'abcdefgh'.split('').map(inserted) }));
  const [first] = placed;
  const other = placed.find(({ shard }) => shard !== first?.shard);
  return [first?.text.at(-1) ?? '', other?.text.at(-1) ?? ''];
}

describe('ChangeSplitter', () => {
  it('L1, L6: every row goes once to the shard of its key, with its bytes and its ordinal in the whole transaction', () => {
    const random = seededRandom();
    const shardByKey = new Map<string, number>();
    const splitter = new ChangeSplitter(map);
    for (let round = 0; round < 200; round++) {
      const transactions = Array.from({ length: random.int(1, 4) }, (_, i) => randomTransaction(random, 100 + i));
      const placed = splitter.split(frame(...transactions)).flatMap((share, shard) => read(share, shard));
      const sent = transactions.flatMap(({ lsn, ordinal, messages }) =>
        messages.map((message, i) => ({ at: `${lsn} ${ordinal + i}`, bytes: Buffer.from(message).toString('hex') })),
      );
      for (const { at, bytes } of sent) {
        const got = placed.filter((one) => one.at === at);
        expect(got.map((one) => one.bytes)).toEqual([bytes]);
        const [, oid, key] = keyOf(bytes);
        const shard = got[0]?.shard ?? -1;
        expect(shardByKey.get(`${oid} ${key}`) ?? shard, key).toBe(shard);
        shardByKey.set(`${oid} ${key}`, shard);
      }
      expect(placed).toHaveLength(sent.length);
    }
    expect(new Set(shardByKey.values())).toEqual(new Set([0, 1, 2, 3]));
  });

  it('a changed key is removed from its shard and put into the other, at the same ordinal', () => {
    const [from, to] = keysApart();
    const moved = change(ITEMS, { old: ['old', from], fresh: ['new', to] });
    const placed = split(frame({ lsn: 9, ordinal: 5, messages: [inserted(from), moved, inserted(to)] }));
    expect(texts(placed).sort()).toEqual(
      [`9 5 I >b,${from}`, `9 6 D old,${from}>`, `9 6 I >new,${to}`, `9 7 I >b,${to}`].sort(),
    );
    const shardOf = (text: string): number | undefined => placed.find((one) => one.text === text)?.shard;
    expect(shardOf(`D old,${from}>`)).toBe(shardOf(`I >b,${from}`));
    expect(shardOf(`I >new,${to}`)).toBe(shardOf(`I >b,${to}`));
    expect(shardOf(`I >new,${to}`)).not.toBe(shardOf(`D old,${from}>`));
  });

  it('L7: a row that moves takes the values along that the change left alone', () => {
    const [from, to] = keysApart();
    const moved = change(ITEMS, { old: ['kept', from], fresh: [UNCHANGED, to] });
    expect(texts(split(frame({ lsn: 9, ordinal: 1, messages: [moved] }))).sort()).toEqual(
      [`9 1 D kept,${from}>`, `9 1 I >kept,${to}`].sort(),
    );
    const stays = change(ITEMS, { old: ['kept', from], fresh: [UNCHANGED, from] });
    expect(texts(split(frame({ lsn: 9, ordinal: 1, messages: [stays] })))).toEqual([`9 1 U kept,${from}>U,${from}`]);
  });

  it('L7: without old rows a change goes by its key, and one that cannot be moved ends the stream', () => {
    const [from, to] = keysApart();
    const plain = change(ITEMS, { oldKind: OLD.none, fresh: [UNCHANGED, from] });
    expect(texts(split(frame({ lsn: 9, ordinal: 1, messages: [plain] })))).toEqual([`9 1 U >U,${from}`]);
    const moved = change(ITEMS, { old: [null, from], oldKind: OLD.key, fresh: ['all', to] });
    expect(texts(split(frame({ lsn: 9, ordinal: 1, messages: [moved] }))).sort()).toEqual(
      [`9 1 D N,${from}>`, `9 1 I >all,${to}`].sort(),
    );
    const blind = change(ITEMS, { old: [null, from], oldKind: OLD.key, fresh: [UNCHANGED, to] });
    expect(() => split(frame({ lsn: 9, ordinal: 1, messages: [blind] }))).toThrow('SCHEMA_RELOADING');
  });

  it('a TRUNCATE goes to every shard at its place, between the rows before and after it', () => {
    const messages = [inserted('a'), truncate(ITEMS, PAIRS), inserted('a')];
    const placed = split(frame({ lsn: 9, ordinal: 1, messages }));
    const shard = placed.find(({ text }) => text === 'I >b,a')?.shard;
    for (let one = 0; one < 4; one++)
      expect(texts(placed.filter((row) => row.shard === one))).toEqual(
        one === shard ? ['9 1 I >b,a', '9 2 T', '9 3 I >b,a'] : ['9 2 T'],
      );
  });

  it('rows of a copy are divided as those of the stream', () => {
    const out = new ByteWriter();
    const keys = 'abcdefghij'.split('');
    appendRecord(out, items);
    for (const key of keys) appendRecord(out, inserted(key));
    const place = (placed: readonly Placed[]): string[] => placed.map(({ shard, text }) => `${shard} ${text}`);
    expect(place(split(out.take()))).toEqual(place(split(frame({ lsn: 1, ordinal: 1, messages: keys.map(inserted) }))));
  });

  it('rows of a table whose key the map does not know belong to the first shard', () => {
    const messages = 'abcdefgh'.split('').map(inserted);
    for (const rowKeys of [{}, { 'public.items': ['gone'] }]) {
      const placed = split(frame({ lsn: 1, ordinal: 1, messages }), { ...map, rowKeys });
      expect(new Set(placed.map(({ shard }) => shard))).toEqual(new Set([0]));
    }
  });

  it('L4: the same key is always of the same shard; another hash needs another map version in every epoch', () => {
    const placed = split(frame({ lsn: 1, ordinal: 1, messages: ['a', 'b', '42', 'x y'].map(inserted) }));
    const shardOf = new Map(placed.map(({ text, shard }) => [text, shard]));
    expect(['I >b,a', 'I >b,b', 'I >b,42', 'I >b,x y'].map((text) => shardOf.get(text))).toMatchInlineSnapshot(`
      [
        0,
        0,
        0,
        2,
      ]
    `);
  });
});

function randomTransaction(random: SeededRandom, lsn: number): Transaction {
  const value = (): string => String(random.int(0, 20));
  const messages = Array.from({ length: random.int(0, 12) }, () => {
    const [a, b] = [value(), value()];
    const kind = random.int(0, 2);
    const oid = random.chance(0.5) ? ITEMS : PAIRS;
    // Of items the body may change; all of a pair is its key.
    const old: Values = oid === ITEMS ? [value(), b] : [a, b];
    if (kind === 0) return change(oid, { fresh: [a, b] });
    return kind === 1 ? change(oid, { old, fresh: [a, b] }) : change(oid, { old });
  });
  return { lsn, ordinal: random.int(1, 3), messages };
}

function keyOf(hex: string): readonly [string, number, string] {
  const bytes = Buffer.from(hex, 'hex');
  const row = new RowMessage();
  readRowMessage(bytes, viewOf(bytes), 0, bytes.length, row);
  const slots = row.new.count > 0 ? row.new : row.old;
  const values = [0, 1].map((i) => bytes.subarray(slots.start[i], slots.end[i]).toString());
  return [hex, row.relationOid, row.relationOid === ITEMS ? (values[1] ?? '') : values.join()];
}
