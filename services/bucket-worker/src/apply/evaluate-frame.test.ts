import { bucketIdOf, type ChunkWrite, lookupIdOf, type StreamRecord } from '@sluice/bucket-store';
import {
  ByteReader,
  barrierAt,
  type Epoch,
  type LeaseToken,
  type Lsn,
  MalformedBytesError,
  type Position,
  type ProjectId,
  readCell,
  rowHash,
  SEQ_PER_ORDINAL,
  type StreamNo,
  tableSeed,
} from '@sluice/domain';
import type { SnapshotFrame, StreamFrame } from '@sluice/op-queue';
import { CODEC_DEFLATE_RAW, CODEC_STORED, forEachOp, OP_PUT, ROW_BYTES_MAX, readDirectory } from '@sluice/protocol';
import { randomFrom } from '@sluice/testkit';
import { describe, expect, test } from 'vitest';
import { paramKey } from '../convergence.fixture.ts';
import { payloadOf } from '../reduce.fixture.ts';
import {
  changesOf,
  deleteMessage,
  ITEMS_OID,
  insertMessage,
  itemColumns,
  itemsPlan,
  itemsRelation,
  MEMBERS_OID,
  relationMessage,
  streamRecord,
  truncateMessage,
  updateMessage,
} from '../wal.fixture.ts';
import { createFrameEvaluator, type FrameResult } from './evaluate-frame.ts';

const START = barrierAt(99n as Lsn);
const LSN = 1000n;
const item = (id: string, a: string | null, b: string | null = null, body: string | null = 'body') => [id, a, b, body];
const bucketA = (value: string) => bucketIdOf(1 as StreamNo, 0, paramKey(value));
const bucketB = (value: string) => bucketIdOf(1 as StreamNo, 1, paramKey(value));
const lookup = (person: string) => lookupIdOf(1 as StreamNo, 0, paramKey(person));

function streamFrame(changes: Uint8Array): StreamFrame {
  return {
    ...{
      kind: 'stream',
      project: 1 as ProjectId,
      epoch: 1 as Epoch,
      shard: 0,
      mapVersion: 1,
      leaseToken: 1n as LeaseToken,
    },
    ...{ prev: START, end: barrierAt(5000n as Lsn), endLsn: 5008n as Lsn, committedAtMs: 0, changes },
  };
}
function evaluate(
  messages: readonly Uint8Array[],
  options: { streams?: readonly StreamRecord[]; applied?: Position; relations?: readonly Uint8Array[] } = {},
): FrameResult {
  const changes = changesOf([{ lsn: LSN, ordinal: 1, messages }], options.relations);
  const evaluator = createFrameEvaluator(options.streams ?? [streamRecord()]);
  return evaluator.evaluate(streamFrame(changes), options.applied ?? START);
}

interface Op {
  readonly kind: 'put' | 'remove';
  readonly id: unknown;
  readonly seq: number;
  readonly body?: unknown;
}
function opsOf(chunk: ChunkWrite): Op[] {
  const payload = payloadOf(chunk);
  const directory = readDirectory(chunk.directory);
  const ops: Op[] = [];
  forEachOp(payload, (kind, start, end) => {
    const reader = new ByteReader(payload, start, end);
    const seq = directory[ops.length]?.position.seq ?? -1;
    const id = readCell(reader);
    if (kind !== OP_PUT) ops.push({ kind: 'remove', id, seq });
    else ops.push({ kind: 'put', id, seq, body: [readCell(reader), readCell(reader)][1] });
    reader.finish();
  });
  return ops;
}
function chunkOf(result: FrameResult, bucket: string): ChunkWrite {
  const found = result.chunks.filter((chunk) => chunk.bucket === bucket);
  expect(found).toHaveLength(1);
  return found[0] as ChunkWrite;
}
const at = (ordinal: number, sub = 0): number => ordinal * SEQ_PER_ORDINAL + sub;

describe('rows', () => {
  test('L6: an inserted row is put, once, in each of its buckets, at its position', () => {
    const result = evaluate([insertMessage(ITEMS_OID, item('k', 'x', 'y'))]);
    expect(result.chunks.map(({ bucket }) => bucket)).toEqual([bucketA('x'), bucketB('y')]);
    for (const chunk of result.chunks) {
      expect(opsOf(chunk)).toEqual([{ kind: 'put', id: 'k', seq: at(1), body: 'body' }]);
      expect(chunk.rowsDelta).toBe(1);
      expect(chunk.checksumDelta).toBe(rowHash(tableSeed('items'), payloadOf(chunk).subarray(2)));
      expect(readDirectory(chunk.directory)[0]?.position.lsn).toBe(LSN);
    }
  });

  test('L7: an update that changes nothing synced is dropped; the unsynced column only moves the row', () => {
    expect(evaluate([updateMessage(ITEMS_OID, item('k', 'x'), item('k', 'x'))]).chunks).toEqual([]);
    // Column b is not sent to clients: the row stays as it is in its bucket of a, and comes into one of b.
    const result = evaluate([updateMessage(ITEMS_OID, item('k', 'x'), item('k', 'x', 'y'))]);
    expect(result.chunks.map(({ bucket }) => bucket)).toEqual([bucketB('y')]);
    expect(result.chunks[0]).toMatchObject({ rowsDelta: 1, ops: 1 });
  });

  test('L7: an update moves a row by its old image: remove there, put here', () => {
    const result = evaluate([updateMessage(ITEMS_OID, item('k', 'x'), item('k', 'y'))]);
    expect(opsOf(chunkOf(result, bucketA('x')))).toEqual([{ kind: 'remove', id: 'k', seq: at(1) }]);
    expect(opsOf(chunkOf(result, bucketA('y')))).toEqual([{ kind: 'put', id: 'k', seq: at(1, 1), body: 'body' }]);
    const moved = evaluate([updateMessage(ITEMS_OID, item('k', null, 'x'), item('k', null, 'y'))]);
    const [gone, come] = [chunkOf(moved, bucketB('x')), chunkOf(moved, bucketB('y'))];
    expect([gone.rowsDelta, come.rowsDelta]).toEqual([-1, 1]);
    expect(BigInt.asUintN(64, gone.checksumDelta + come.checksumDelta)).toBe(0n);
  });

  test('L7: a value that the update left alone comes from the old image', () => {
    const fresh = ['k', 'y', null, undefined];
    const result = evaluate([updateMessage(ITEMS_OID, item('k', 'x', null, 'long'), fresh)]);
    expect(opsOf(chunkOf(result, bucketA('y')))[0]?.body).toBe('long');
  });

  test('L6: a changed key is a remove of the old row and a put of the new one', () => {
    const result = evaluate([updateMessage(ITEMS_OID, item('k', 'x'), item('l', 'x'))]);
    const chunk = chunkOf(result, bucketA('x'));
    expect(opsOf(chunk)).toEqual([
      { kind: 'remove', id: 'k', seq: at(1) },
      { kind: 'put', id: 'l', seq: at(1, 1), body: 'body' },
    ]);
    expect(chunk.rowsDelta).toBe(0);
  });

  test('L8: a chunk holds the newest op per row, and its deltas count every one', () => {
    const result = evaluate([
      insertMessage(ITEMS_OID, item('k', 'x', null, 'one')),
      insertMessage(ITEMS_OID, item('l', 'x')),
      updateMessage(ITEMS_OID, item('k', 'x', null, 'one'), item('k', 'x', null, 'two')),
      deleteMessage(ITEMS_OID, item('l', 'x')),
      deleteMessage(ITEMS_OID, item('m', 'x')),
    ]);
    const chunk = chunkOf(result, bucketA('x'));
    expect(opsOf(chunk)).toEqual([
      { kind: 'put', id: 'k', seq: at(3), body: 'two' },
      { kind: 'remove', id: 'l', seq: at(4) },
      { kind: 'remove', id: 'm', seq: at(5) },
    ]);
    expect(chunk.rowsDelta).toBe(0);
    expect(chunk.ops).toBe(3);
  });

  test('a row over the bound is in no bucket, as its old image was in none, and is reported', () => {
    const large = item('k', 'x', null, 'x'.repeat(ROW_BYTES_MAX));
    const result = evaluate([
      insertMessage(ITEMS_OID, large),
      updateMessage(ITEMS_OID, large, item('k', 'x')),
      updateMessage(ITEMS_OID, item('k', 'x'), large),
      deleteMessage(ITEMS_OID, large),
    ]);
    const chunk = chunkOf(result, bucketA('x'));
    expect(opsOf(chunk)).toEqual([{ kind: 'remove', id: 'k', seq: at(3) }]);
    expect([chunk.rowsDelta, chunk.checksumDelta]).toEqual([0, 0n]);
    expect(result.issues).toEqual([
      { code: 'ROW_TOO_LARGE', table: 'public.items', count: 2, details: { bytesMax: ROW_BYTES_MAX } },
    ]);
  });

  test('L8: a payload past its bound is split, and the deltas are told once', () => {
    const body = 'abcdefgh'.repeat(60_000);
    const messages = Array.from({ length: 12 }, (_, i) => insertMessage(ITEMS_OID, item(`k${i}`, 'x', null, body)));
    const result = evaluate(messages);
    expect(result.chunks.length).toBe(2);
    expect(result.chunks.map(({ rowsDelta }) => rowsDelta)).toEqual([12, 0]);
    expect(result.chunks.flatMap(opsOf).map(({ id }) => id)).toEqual(messages.map((_, i) => `k${i}`));
  });

  test('a live payload that shrinks is deflated; a small one, one that does not shrink and a backlog are stored', () => {
    const codecOf = (bytes: number, body: (i: number) => string) => {
      const messages = Array.from({ length: Math.ceil(bytes / 1000) }, (_, i) =>
        insertMessage(ITEMS_OID, item(`k${i}`, 'x', null, body(i))),
      );
      return evaluate(messages).chunks[0]?.codec;
    };
    const noise = randomFrom(1);
    const shrinking = (): string => 'abcd'.repeat(250);
    expect(codecOf(20_000, shrinking)).toBe(CODEC_DEFLATE_RAW);
    expect(codecOf(5_000, shrinking)).toBe(CODEC_STORED);
    expect(codecOf(20_000, () => String.fromCharCode(...noise.bytes(1000).map((byte) => 33 + (byte % 94))))).toBe(
      CODEC_STORED,
    );
    expect(codecOf(400_000, shrinking)).toBe(CODEC_STORED);
  });

  test('a result stays as it is while the next frame is evaluated, until it is released', () => {
    const evaluator = createFrameEvaluator([streamRecord()]);
    const frameOf = (id: string) =>
      streamFrame(changesOf([{ lsn: LSN, ordinal: 1, messages: [insertMessage(ITEMS_OID, item(id, 'x'))] }]));
    const first = evaluator.evaluate(frameOf('first'), START);
    const second = evaluator.evaluate(frameOf('other'), START);
    expect(opsOf(chunkOf(first, bucketA('x')))[0]?.id).toBe('first');
    first.release();
    evaluator.evaluate(frameOf('third'), START);
    expect(opsOf(chunkOf(second, bucketA('x')))[0]?.id).toBe('other');
  });
});

describe('positions', () => {
  test('L3: what was applied before is skipped, by transaction and within one', () => {
    const messages = ['k', 'l', 'm'].map((id) => insertMessage(ITEMS_OID, item(id, 'x')));
    const idsFrom = (applied: Position) =>
      evaluate(messages, { applied })
        .chunks.flatMap(opsOf)
        .map(({ id }) => id);
    expect(idsFrom(START)).toEqual(['k', 'l', 'm']);
    expect(idsFrom({ lsn: LSN as Lsn, seq: at(2) - 1 })).toEqual(['l', 'm']);
    expect(idsFrom({ lsn: LSN as Lsn, seq: at(2) })).toEqual(['m']);
    expect(idsFrom({ lsn: LSN as Lsn, seq: at(2, 65535) })).toEqual(['m']);
    expect(idsFrom(barrierAt(LSN as Lsn))).toEqual([]);
    expect(idsFrom(barrierAt(2000n as Lsn))).toEqual([]);
  });

  test('L1: ordinals go on over several frames and transactions, and positions carry each commit', () => {
    const parts = [
      { lsn: LSN, ordinal: 5, messages: [insertMessage(ITEMS_OID, item('k', 'x'))] },
      { lsn: 1500n, ordinal: 1, messages: [insertMessage(ITEMS_OID, item('l', 'x'))] },
    ];
    const result = createFrameEvaluator([streamRecord()]).evaluate(streamFrame(changesOf(parts)), START);
    const positions = readDirectory(chunkOf(result, bucketA('x')).directory).map(({ position }) => position);
    expect(positions).toEqual([
      { lsn: LSN, seq: at(5) },
      { lsn: 1500n, seq: at(1) },
    ]);
  });

  test('L11: a stream gets rows of commits above its activation, and none at or below it', () => {
    const message = insertMessage(ITEMS_OID, item('k', 'x'));
    const active = (activatedAt: bigint) =>
      evaluate([message], { streams: [streamRecord({ activatedAt: activatedAt as Lsn })] }).chunks.length;
    expect([active(LSN - 1n), active(LSN), active(LSN + 1n)]).toEqual([1, 0, 0]);
  });

  test('rows of one table go to each stream that reads it, in buckets of its own', () => {
    const streams = [streamRecord(), streamRecord({ stream: 2 as StreamNo })];
    const { chunks } = evaluate([insertMessage(ITEMS_OID, item('k', 'x'))], { streams });
    expect(chunks.map(({ stream }) => stream)).toEqual([1, 2]);
    expect(new Set(chunks.map(({ bucket }) => bucket)).size).toBe(2);
  });
});

describe('membership and TRUNCATE', () => {
  const writes = (messages: readonly Uint8Array[]) =>
    evaluate(messages).memberships.map(({ lookup: of, value, present, position }) => [
      of,
      value,
      present,
      position.seq,
    ]);

  test('L6: an entry comes, changes and goes as ops with tombstones that carry the old value', () => {
    expect(writes([insertMessage(MEMBERS_OID, ['1', 'ann', 'red'])])).toEqual([
      [lookup('ann'), paramKey('red'), true, at(1)],
    ]);
    expect(writes([updateMessage(MEMBERS_OID, ['1', 'ann', 'red'], ['1', 'ann', 'blue'])])).toEqual([
      [lookup('ann'), paramKey('red'), false, at(1)],
      [lookup('ann'), paramKey('blue'), true, at(1, 1)],
    ]);
    expect(writes([updateMessage(MEMBERS_OID, ['1', 'ann', 'red'], ['1', 'bob', 'red'])])).toEqual([
      [lookup('ann'), paramKey('red'), false, at(1)],
      [lookup('bob'), paramKey('red'), true, at(1, 1)],
    ]);
    expect(writes([deleteMessage(MEMBERS_OID, ['1', 'ann', 'red'])])).toEqual([
      [lookup('ann'), paramKey('red'), false, at(1)],
    ]);
    expect(writes([updateMessage(MEMBERS_OID, ['1', 'ann', 'red'], ['1', 'ann', 'red'])])).toEqual([]);
    expect(writes([insertMessage(MEMBERS_OID, ['1', 'ann', null])])).toEqual([]);
  });

  test('a TRUNCATE drops what the frame did before it, and keeps what comes after', () => {
    const result = evaluate([
      insertMessage(ITEMS_OID, item('k', 'x')),
      insertMessage(MEMBERS_OID, ['1', 'ann', 'red']),
      truncateMessage([ITEMS_OID, MEMBERS_OID]),
      insertMessage(ITEMS_OID, item('l', 'x')),
      insertMessage(MEMBERS_OID, ['2', 'ann', 'blue']),
    ]);
    const chunk = chunkOf(result, bucketA('x'));
    expect(opsOf(chunk).map(({ id }) => id)).toEqual(['l']);
    expect(chunk.rowsDelta).toBe(1);
    expect(result.memberships.map(({ value }) => value)).toEqual([paramKey('blue')]);
    expect(result.truncates).toEqual([
      { stream: 1, membership: undefined, position: { lsn: LSN, seq: at(3) } },
      { stream: 1, membership: 0, position: { lsn: LSN, seq: at(3) } },
    ]);
  });
});

describe('copies', () => {
  const copy = (change: Partial<SnapshotFrame> = {}): SnapshotFrame => ({
    ...{ kind: 'snapshot', project: 1 as ProjectId, epoch: 1 as Epoch, shard: 0, leaseToken: 1n as LeaseToken },
    ...{ streams: [1 as StreamNo], pointLsn: 700n as Lsn, schema: 'public', table: 'items', part: 0, last: true },
    changes: changesOf([]),
    ...change,
  });
  const rowsOf = (messages: readonly Uint8Array[]) =>
    changesOf([{ lsn: 1n, ordinal: 1, messages }]).slice(changesOf([]).length + 25);
  const bytesOf = (messages: readonly Uint8Array[]) => Uint8Array.from([...changesOf([]), ...rowsOf(messages)]);

  test('L10: rows of a copy are puts at the point, for the streams that are copied alone', () => {
    const evaluator = createFrameEvaluator([
      streamRecord({ activatedAt: 900n as Lsn }),
      streamRecord({ stream: 2 as StreamNo }),
    ]);
    const changes = bytesOf([
      insertMessage(ITEMS_OID, item('k', 'x')),
      insertMessage(MEMBERS_OID, ['1', 'ann', 'red']),
    ]);
    const result = evaluator.evaluateSnapshot(copy({ changes }));
    expect(result.chunks.map(({ stream }) => stream)).toEqual([1]);
    expect(readDirectory(result.chunks[0]?.directory ?? new Uint8Array())[0]?.position).toEqual({ lsn: 700n, seq: 0 });
    expect(result.memberships).toMatchObject([{ stream: 1, position: { lsn: 700n, seq: 0 }, present: true }]);
    expect(result.mismatches).toEqual([]);
  });

  test('anything but relations and inserted rows is refused', () => {
    const evaluator = createFrameEvaluator([streamRecord()]);
    for (const message of [deleteMessage(ITEMS_OID, item('k', 'x')), truncateMessage([ITEMS_OID])])
      expect(() => evaluator.evaluateSnapshot(copy({ changes: bytesOf([message]) }))).toThrow(MalformedBytesError);
    const transaction = changesOf([{ lsn: 1n, ordinal: 1, messages: [] }]);
    expect(() => evaluator.evaluateSnapshot(copy({ changes: transaction }))).toThrow(MalformedBytesError);
  });
});

describe('tables that change', () => {
  const dropped = relationMessage(ITEMS_OID, 'items', itemColumns.slice(0, 3));
  const retyped = relationMessage(
    ITEMS_OID,
    'items',
    itemColumns.map((column) => ({ ...column, typeOid: 17 })),
  );
  const added = relationMessage(ITEMS_OID, 'items', [...itemColumns, { name: 'more', typeOid: 25, typmod: -1 }]);

  test('L17: a stream whose columns are gone or of another type gets nothing and says so; others go on', () => {
    const two = streamRecord({
      stream: 2 as StreamNo,
      plan: { ...itemsPlan, table: { ...itemsPlan.table, columns: itemsPlan.table.columns.slice(0, 2) } },
    });
    const message = insertMessage(ITEMS_OID, ['k', 'x', null]);
    const result = evaluate([message], { streams: [streamRecord(), two], relations: [dropped] });
    expect(result.mismatches).toEqual([{ stream: 1, table: 'public.items', columns: ['body'] }]);
    expect(result.chunks.map(({ stream }) => stream)).toEqual([2]);
    expect(evaluate([insertMessage(ITEMS_OID, item('k', 'x'))], { relations: [retyped] }).mismatches).toHaveLength(1);
    expect(evaluate([truncateMessage([ITEMS_OID])], { relations: [dropped] }).mismatches).toHaveLength(1);
  });

  test('an added column changes nothing, and a changed table that gets no row is no matter', () => {
    const result = evaluate([insertMessage(ITEMS_OID, [...item('k', 'x'), 'more'])], { relations: [added] });
    expect(result.mismatches).toEqual([]);
    expect(result.chunks).toHaveLength(1);
    expect(evaluate([], { relations: [dropped] }).mismatches).toEqual([]);
  });

  test('a table may change within a frame', () => {
    const evaluator = createFrameEvaluator([streamRecord()]);
    const messages = [
      insertMessage(ITEMS_OID, item('k', 'x')),
      added,
      insertMessage(ITEMS_OID, [...item('l', 'x'), '']),
      itemsRelation,
    ];
    const result = evaluator.evaluate(streamFrame(changesOf([{ lsn: LSN, ordinal: 1, messages }])), START);
    expect(opsOf(chunkOf(result, bucketA('x'))).map(({ id, seq }) => [id, seq])).toEqual([
      ['k', at(1)],
      ['l', at(2)],
    ]);
  });
});

describe('bad input', () => {
  const row = insertMessage(ITEMS_OID, item('k', 'x'));

  test('rows and TRUNCATEs out of place are refused', () => {
    const evaluator = createFrameEvaluator([streamRecord()]);
    const bare = changesOf([], [itemsRelation, row]);
    expect(() => evaluator.evaluate(streamFrame(bare), START)).toThrow(MalformedBytesError);
    expect(() => evaluate([row], { relations: [] })).toThrow(MalformedBytesError);
    expect(() => evaluate([truncateMessage([ITEMS_OID])], { relations: [] })).toThrow(MalformedBytesError);
    const backwards = changesOf([
      { lsn: 2000n, ordinal: 1, messages: [] },
      { lsn: LSN, ordinal: 1, messages: [] },
    ]);
    expect(() => evaluator.evaluate(streamFrame(backwards), START)).toThrow(MalformedBytesError);
  });

  test('L7: a change without the whole old row is refused, since it does not say which buckets the row leaves', () => {
    const keyOnly = updateMessage(ITEMS_OID, item('k', 'x'), item('k', 'y'));
    keyOnly[5] = 0x4b;
    expect(() => evaluate([keyOnly])).toThrow(expect.objectContaining({ code: 'SOURCE_REPLICA_IDENTITY' }));
  });

  test('every truncation and changed byte gives a result or a typed error, and the next frame is not disturbed', () => {
    const evaluator = createFrameEvaluator([streamRecord()]);
    const good = changesOf([
      {
        lsn: LSN,
        ordinal: 1,
        messages: [row, updateMessage(ITEMS_OID, item('k', 'x'), item('k', 'y')), truncateMessage([MEMBERS_OID])],
      },
    ]);
    const attempt = (bytes: Uint8Array): void => {
      try {
        evaluator.evaluate(streamFrame(bytes), START).release();
      } catch (error) {
        expect(['MalformedBytesError', 'AppError', 'InvariantError']).toContain((error as Error).name);
      }
    };
    for (let length = 0; length < good.length; length++) attempt(good.subarray(0, length));
    for (let i = 0; i < good.length; i++)
      for (const byte of [0, 0xff, 0x49]) {
        const bad = good.slice();
        bad[i] = byte;
        attempt(bad);
      }
    const result = evaluator.evaluate(streamFrame(good), START);
    expect(result.chunks.map(({ bucket }) => bucket)).toEqual([bucketA('x'), bucketA('y')]);
  });
});
