import { ByteWriter } from '@sluice/domain';
import { describe, expect, test } from 'vitest';
import { appendRelationMessage } from './append-message.ts';
import { messageKind } from './message-kind.ts';
import { unixMsFromPgUs } from './pg-time.ts';
import { type RareMessage, type RelationMessage, readMessage } from './read-message.ts';
import { viewOf, WireBytes } from './testing-bytes.ts';

function read(bytes: Uint8Array): RareMessage {
  return readMessage(bytes, viewOf(bytes), 0, bytes.length);
}

const relation: RelationMessage = {
  kind: 'relation',
  oid: 4_000_000_001,
  schema: 'Zoë "quoted"',
  name: '\ufefftable 🛫',
  replicaIdentity: 'f',
  columns: [
    { name: 'id', typeOid: 20, typmod: -1, key: true },
    { name: 'Größe', typeOid: 1700, typmod: 655366, key: false },
  ],
};

describe('rare messages', () => {
  test('Begin gives the commit LSN, the microsecond of the commit and the xid', () => {
    const bytes = new WireBytes().char('B').u64(0x16_b374d848n).u64(757_382_400_123_456n).u32(0xfffffff0).take();
    const message = read(bytes);
    expect(message).toEqual({
      kind: 'begin',
      finalLsn: 0x16_b374d848n,
      commitTimeUs: 757_382_400_123_456n,
      xid: 0xfffffff0,
    });
    expect(unixMsFromPgUs(757_382_400_123_456n)).toBe(Date.UTC(2024, 0, 1) + 123);
  });

  test('Commit gives both LSNs exactly', () => {
    const bytes = new WireBytes().char('C').u8(0).u64(1n).u64(0x7fffffffffffffffn).u64(-1n).take();
    expect(read(bytes)).toEqual({
      kind: 'commit',
      commitLsn: 1n,
      endLsn: 0x7fffffffffffffffn,
      commitTimeUs: -1n,
    });
  });

  test('Origin, Type, logical message and Truncate are read whole', () => {
    expect(read(new WireBytes().char('O').u64(9n).text('node a').take())).toEqual({
      kind: 'origin',
      commitLsn: 9n,
      name: 'node a',
    });
    expect(read(new WireBytes().char('Y').u32(16500).text('').text('int4').take())).toEqual({
      kind: 'type',
      oid: 16500,
      schema: 'pg_catalog',
      name: 'int4',
    });
    expect(read(new WireBytes().char('M').u8(1).u64(5n).text('sluice').u32(2).raw([0, 255]).take())).toEqual({
      kind: 'logical',
      transactional: true,
      lsn: 5n,
      prefix: 'sluice',
      content: Uint8Array.of(0, 255),
    });
    expect(read(new WireBytes().char('T').u32(2).u8(3).u32(7).u32(8).take())).toEqual({
      kind: 'truncate',
      relationOids: [7, 8],
      cascade: true,
      restartIdentity: true,
    });
  });

  test('a Relation that we write is read back equal, whatever its names', () => {
    const out = new ByteWriter();
    appendRelationMessage(out, relation);
    expect(read(out.take())).toEqual(relation);
    out.reset();
    appendRelationMessage(out, { ...relation, schema: 'pg_catalog', columns: [] });
    expect(read(out.take())).toEqual({ ...relation, schema: 'pg_catalog', columns: [] });
  });

  test('a message keeps nothing of the buffer it was read from', () => {
    const bytes = new WireBytes().char('M').u8(0).u64(5n).text('p').u32(1).raw([7]).take();
    const message = read(bytes);
    bytes.fill(0xee);
    expect(message.kind === 'logical' && message.content).toEqual(Uint8Array.of(7));
  });

  test('L6: streamed and two-phase messages are refused, never read as if they were version 1', () => {
    for (const letter of 'SEcAbPKrp') {
      expect(() => messageKind(letter.charCodeAt(0))).toThrow('SOURCE_PROTOCOL');
      expect(() => read(new WireBytes().char(letter).raw(new Uint8Array(40)).take())).toThrow('SOURCE_PROTOCOL');
    }
  });

  test.each([
    ['an empty message', new Uint8Array(0)],
    ['an LSN above 2^63', new WireBytes().char('B').u64(-1n).u64(0n).u32(1).take()],
    ['a byte too many', new WireBytes().char('O').u64(9n).text('a').u8(0).take()],
    ['a name that is not UTF-8', new WireBytes().char('O').u64(9n).raw([0xff, 0]).take()],
    ['a name without its end', new WireBytes().char('O').u64(9n).raw([0x61]).take()],
    ['an unknown replica identity', new WireBytes().char('R').u32(1).text('a').text('b').char('x').u16(0).take()],
    ['a negative column count', new WireBytes().char('R').u32(1).text('a').text('b').char('d').u16(0xffff).take()],
    ['a hostile column count', new WireBytes().char('R').u32(1).text('a').text('b').char('d').u16(0x7fff).take()],
    ['a hostile relation count', new WireBytes().char('T').u32(0x7fffffff).u8(0).u32(1).take()],
    ['unknown truncate options', new WireBytes().char('T').u32(0).u8(4).take()],
    ['a hostile content length', new WireBytes().char('M').u8(1).u64(5n).text('p').u32(0x7fffffff).take()],
    ['a negative content length', new WireBytes().char('M').u8(1).u64(5n).text('p').u32(0xffffffff).take()],
    ['commit flags', new WireBytes().char('C').u8(1).u64(1n).u64(1n).u64(1n).take()],
    ['a row', new WireBytes().char('I').u32(1).char('N').tuple(['x']).take()],
  ])('L6: %s is SOURCE_PROTOCOL', (_, bytes) => {
    expect(() => read(bytes)).toThrow('SOURCE_PROTOCOL');
  });
});
