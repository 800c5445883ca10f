import { ByteWriter, barrierAt, comparePositions, type Lsn, lsnFromBigint, SEQ_PER_ORDINAL } from '@sluice/domain';
import { forEachRecord, RECORD_TRANSACTION, readTransactionRecord } from '@sluice/op-queue';
import { appendInsertMessage, appendRelationMessage, MESSAGE } from '@sluice/pgoutput';
import { seededRandom } from '@sluice/testkit';
import { describe, expect, it } from 'vitest';
import { type AssembledFrame, Assembler, type AssemblerOptions } from './assembler.ts';

const text = new TextEncoder();
function bytes(write: (out: ByteWriter) => void): Uint8Array {
  const out = new ByteWriter();
  write(out);
  return out.take();
}
function be(out: ByteWriter, bits: 32 | 64, value: bigint): void {
  for (let shift = bits - 8; shift >= 0; shift -= 8) out.u8(Number((value >> BigInt(shift)) & 0xffn));
}
const begin = (lsn: number): Uint8Array =>
  bytes((out) => {
    out.u8(MESSAGE.begin);
    be(out, 64, BigInt(lsn));
    be(out, 64, 1_000_000n);
    be(out, 32, 7n);
  });
const commit = (lsn: number): Uint8Array =>
  bytes((out) => {
    out.u8(MESSAGE.commit);
    out.u8(0);
    be(out, 64, BigInt(lsn));
    be(out, 64, BigInt(lsn + 8));
    be(out, 64, 1_000_000n);
  });
const relation = (oid: number, columns = ['id']): Uint8Array =>
  bytes((out) =>
    appendRelationMessage(out, {
      oid,
      schema: 'public',
      name: `t${oid}`,
      replicaIdentity: 'f',
      columns: columns.map((name) => ({ name, typeOid: 25, typmod: -1, key: true })),
    }),
  );
const insert = (oid: number, value: string): Uint8Array =>
  bytes((out) => appendInsertMessage(out, oid, [text.encode(value)]));
const activation = (name: string): Uint8Array =>
  bytes((out) => {
    out.u8(MESSAGE.logical);
    out.u8(1);
    be(out, 64, 8n);
    out.raw(text.encode('sluice\0'));
    const content = text.encode(`activate:${name}`);
    be(out, 32, BigInt(content.length));
    out.raw(content);
  });

interface Run {
  readonly assembler: Assembler;
  readonly frames: AssembledFrame[];
  readonly seen: string[];
  push(...messages: Uint8Array[]): void;
}
function start(options: Partial<AssemblerOptions> = {}, used: (oid: number) => boolean = () => true): Run {
  const frames: AssembledFrame[] = [];
  const seen: string[] = [];
  const assembler = new Assembler({
    events: {
      frame: (frame) => frames.push(frame),
      relation: (message, previous) => {
        seen.push(`${previous ? 'changed' : 'new'} ${message.oid}`);
        return used(message.oid);
      },
      relationRepeated: (message) => seen.push(`repeated ${message.oid}`),
      rowLeftOut: (message) => seen.push(`left out ${message.oid}`),
      activation: (content, lsn) => seen.push(`activation ${content} ${lsn} after ${frames.length}`),
    },
    messagePrefix: 'sluice',
    applied: lsnFromBigint(0n),
    mustRepeat: false,
    rowBytesMax: 1000,
    frameBytesMax: 1 << 20,
    ...options,
  });
  return {
    assembler,
    frames,
    seen,
    push(...messages) {
      for (const message of messages) {
        // As the socket hands it over: somewhere in a buffer that is used again.
        const chunk = new Uint8Array(message.length + 6);
        chunk.set(message, 3);
        assembler.push(chunk, new DataView(chunk.buffer), 3, message.length + 3);
        chunk.fill(0xee);
      }
    },
  };
}

/** Rows of frames as `lsn/ordinal oid`; fails when a frame uses a table that it does not describe. */
function rowsOf(frames: readonly AssembledFrame[]): string[] {
  return frames.flatMap(({ changes }) => {
    const rows: string[] = [];
    const described = new Set<number>();
    let lsn: Lsn | undefined;
    let ordinal = 0;
    const view = new DataView(changes.buffer, changes.byteOffset, changes.length);
    forEachRecord(changes, view, (kind, at, end) => {
      if (kind === RECORD_TRANSACTION) {
        ({ commitLsn: lsn, ordinal } = readTransactionRecord(changes, at, end));
      } else if (kind === MESSAGE.relation) described.add(view.getUint32(at + 1));
      else {
        const oid = view.getUint32(at + 1);
        expect(described.has(oid)).toBe(true);
        expect(lsn).toBeDefined();
        rows.push(`${lsn}/${ordinal++} ${oid}`);
      }
    });
    return rows;
  });
}

describe('Assembler', () => {
  it('L4: gathers whole transactions and ends the frame at the last of them', () => {
    const run = start();
    run.push(
      relation(1),
      begin(80),
      insert(1, 'a'),
      commit(80),
      begin(160),
      insert(1, 'b'),
      insert(1, 'c'),
      commit(160),
    );
    expect(run.frames).toEqual([]);
    run.assembler.flushCompleted();
    expect(run.frames).toMatchObject([{ prev: barrierAt(0n as Lsn), end: barrierAt(160n as Lsn), endLsn: 168n }]);
    expect(rowsOf(run.frames)).toEqual(['80/1 1', '160/1 1', '160/2 1']);
  });

  it('L4: an empty transaction moves the barrier', () => {
    const run = start();
    run.push(begin(80), commit(80));
    run.assembler.flushCompleted();
    expect(run.frames).toMatchObject([{ end: barrierAt(80n as Lsn), endLsn: 88n, changes: new Uint8Array() }]);
  });

  it('L4: a transaction larger than a frame spans several, the whole ones before it get their own barrier', () => {
    const run = start({ frameBytesMax: 300 });
    run.push(relation(1), relation(2), begin(80), insert(1, 'x'), commit(80), begin(160));
    for (let i = 0; i < 40; i++) run.push(insert(2, `row ${i}`));
    run.push(commit(160));
    run.assembler.flushCompleted();
    expect(run.frames[0]).toMatchObject({ end: barrierAt(80n as Lsn) });
    expect(run.frames.at(-1)).toMatchObject({ end: barrierAt(160n as Lsn), endLsn: 168n });
    for (const [i, frame] of run.frames.entries()) {
      expect(frame.prev).toEqual(run.frames[i - 1]?.end ?? barrierAt(0n as Lsn));
      expect(frame.changes.length).toBeLessThan(600);
    }
    expect(rowsOf(run.frames)).toEqual(['80/1 1', ...Array.from({ length: 40 }, (_, i) => `160/${i + 1} 2`)]);
    const inner = run.frames.slice(1, -1);
    expect(inner.length).toBeGreaterThan(2);
    for (const { end, endLsn } of inner) {
      expect(endLsn).toBe(0n);
      expect(end.seq % SEQ_PER_ORDINAL).toBe(SEQ_PER_ORDINAL - 1);
    }
  });

  it('L1: rows of tables that nobody reads are counted and left out', () => {
    const run = start({}, (oid) => oid === 1);
    run.push(
      relation(1),
      relation(2),
      begin(80),
      insert(2, 'x'),
      insert(1, 'a'),
      insert(2, 'x'),
      insert(1, 'b'),
      commit(80),
    );
    run.assembler.flushCompleted();
    expect(rowsOf(run.frames)).toEqual(['80/2 1', '80/4 1']);
  });

  it('L6: a row that is too large is left out, and the others keep their ordinals', () => {
    const run = start({ rowBytesMax: 100 });
    run.push(relation(1), begin(80), insert(1, 'a'), insert(1, 'x'.repeat(101)), insert(1, 'b'), commit(80));
    run.assembler.flushCompleted();
    expect(rowsOf(run.frames)).toEqual(['80/1 1', '80/3 1']);
    expect(run.seen).toContain('left out 1');
  });

  it('L2: repeats what is durable silently, and only from the very commit that is', () => {
    const run = start({ applied: lsnFromBigint(160n), mustRepeat: true });
    run.push(relation(1), begin(80), insert(1, 'a'), commit(80), begin(160), insert(1, 'b'), commit(160));
    run.assembler.flushCompleted();
    expect(run.frames).toEqual([]);
    run.push(begin(240), insert(1, 'c'), commit(240));
    run.assembler.flushCompleted();
    expect(run.frames).toMatchObject([{ prev: barrierAt(160n as Lsn), end: barrierAt(240n as Lsn) }]);

    const changed = start({ applied: lsnFromBigint(160n), mustRepeat: true });
    changed.push(begin(80), commit(80));
    expect(() => changed.push(begin(240))).toThrow(/SOURCE_HISTORY_CHANGED/);
  });

  it('L11: tells of an activation after everything up to its commit was handed over', () => {
    const run = start();
    run.push(relation(1), begin(80), insert(1, 'a'), activation('x'), commit(80));
    expect(run.seen).toContain('activation x 80 after 1');
    expect(run.frames).toMatchObject([{ end: barrierAt(80n as Lsn) }]);
  });

  it('ADR 2: each commit is a barrier until the back-fill point is reached, and none crosses it', () => {
    const run = start();
    run.assembler.barrierAtEveryCommit('unknown');
    run.push(begin(80), commit(80), begin(160), commit(160));
    run.assembler.barrierAtEveryCommit(lsnFromBigint(240n));
    run.push(begin(232), commit(232), begin(240), commit(240), begin(320), commit(320));
    run.assembler.flushCompleted();
    expect(run.frames.map(({ end }) => Number(end.lsn))).toEqual([80, 160, 232, 320]);
  });

  it('rows before and after a change of their table stay under the description that fits them', () => {
    const run = start();
    run.push(relation(1), begin(80), insert(1, 'a'), commit(80), begin(160), insert(1, 'old'));
    run.push(relation(1, ['id', 'more']), insert(1, 'new'), commit(160));
    run.assembler.flushCompleted();
    expect(run.seen).toEqual(['new 1', 'changed 1']);
    const [first, second] = run.frames;
    expect(first).toMatchObject({ end: barrierAt(80n as Lsn) });
    const kinds: number[] = [];
    const changes = second?.changes ?? new Uint8Array();
    forEachRecord(changes, new DataView(changes.buffer, changes.byteOffset, changes.length), (kind) =>
      kinds.push(kind),
    );
    expect(kinds.map((kind) => String.fromCharCode(kind)).join('')).toBe('\u0001RIRI');
    run.push(relation(1, ['id', 'more']));
    expect(run.seen.at(-1)).toBe('repeated 1');
  });

  it('gives the same rows in the same order however frames are cut', () => {
    const random = seededRandom();
    for (let round = 0; round < 100; round++) {
      const run = start({ frameBytesMax: random.int(50, 800) });
      const expected: string[] = [];
      run.push(relation(1), relation(2), relation(3));
      for (let lsn = 80; lsn < 80 * random.int(2, 20); lsn += 80) {
        run.push(begin(lsn));
        const rows = random.pick([0, 1, 3, 30]);
        for (let ordinal = 1; ordinal <= rows; ordinal++) {
          const oid = random.int(1, 3);
          run.push(insert(oid, 'v'.repeat(random.int(0, 30))));
          expected.push(`${lsn}/${ordinal} ${oid}`);
          if (random.chance(0.1)) run.assembler.flushCompleted();
        }
        run.push(commit(lsn));
        if (random.chance(0.3)) run.assembler.flushCompleted();
      }
      run.assembler.flushCompleted();
      expect(rowsOf(run.frames)).toEqual(expected);
      for (const { prev, end } of run.frames) expect(comparePositions(prev, end)).toBeLessThan(0);
    }
  });

  it('refuses a stream that is out of order', () => {
    const outOfOrder: readonly (readonly Uint8Array[])[] = [
      [commit(80)],
      [begin(80), begin(160)],
      [begin(80), commit(160)],
      [relation(1), insert(1, 'outside')],
      [begin(80), insert(9, 'never described')],
      [Uint8Array.of(MESSAGE.insert)],
      [Uint8Array.of(0)],
    ];
    for (const messages of outOfOrder) expect(() => start().push(...messages)).toThrow(/SOURCE_PROTOCOL/);
  });
});
