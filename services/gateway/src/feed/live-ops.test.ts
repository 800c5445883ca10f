import { ByteWriter, Hash64, type Lsn, MalformedBytesError, writeCell } from '@sluice/domain';
import { appendDirectoryEntry, appendOp, OP_PUT, OP_REMOVE, writeDirectoryHead } from '@sluice/protocol';
import { randomFrom, seededRandom } from '@sluice/testkit';
import { describe, expect, it } from 'vitest';
import { LiveOps } from './live-ops.ts';

interface Op {
  readonly key: number | string;
  readonly isPut: boolean;
}
/** A chunk of these ops; `hash` stands for the real one, so that collisions can be made. */
function chunkOf(ops: readonly Op[], hash?: (key: number | string) => number, lsn = 1n as Lsn) {
  const payload = new ByteWriter(256);
  const directory = new ByteWriter(256);
  writeDirectoryHead(directory, ops.length, lsn);
  const hasher = new Hash64();
  for (const { key, isPut } of ops) {
    const body = new ByteWriter(64);
    writeCell(body, key);
    const keyBytes = body.length;
    if (isPut) writeCell(body, 'some text');
    hasher.update(body.bytes, body.view, 0, keyBytes, 0);
    appendOp(payload, isPut ? OP_PUT : OP_REMOVE, body.bytes, 0, body.length);
    const [hashLo, hashHi] = hash ? [hash(key), 0] : [hasher.lo, hasher.hi];
    appendDirectoryEntry(directory, { hashLo, hashHi, lsnDelta: 0, seq: 1, keyBytes });
  }
  return { payload: payload.take(), directory: directory.take() };
}
const put = (key: number | string): Op => ({ key, isPut: true });
const remove = (key: number | string): Op => ({ key, isPut: false });

function liveOf(chunks: readonly (readonly Op[])[], hash?: (key: number | string) => number, parts = 1): boolean[] {
  const live = new LiveOps();
  const encoded = chunks.map((ops) => chunkOf(ops, hash));
  let count = 0;
  for (let part = 0; part < parts; part++) {
    live.beginPart(part, parts);
    count = 0;
    for (const { payload, directory } of encoded) count += live.offer(directory, payload);
  }
  live.finish();
  const flags = Array.from({ length: count }, (_, op) => live.isLive(op));
  expect(live.liveOps).toBe(flags.filter(Boolean).length);
  return flags;
}

function offerOne(live: LiveOps, key: number): void {
  const { payload, directory } = chunkOf([put(key)]);
  live.offer(directory, payload);
}

describe('the newest ops of a bucket', () => {
  it('L13: only the last put of each row is live, and no row that was removed', () => {
    expect(liveOf([[put(1), put(2)], [put(1)], [remove(2), put(3)], [remove(9)]])).toEqual([
      false,
      false,
      true,
      false,
      true,
      false,
    ]);
    expect(liveOf([[put(1)], [remove(1)], [put(1)]])).toEqual([false, false, true]);
  });

  it('L13: of a stretch of changes, the last op of each row is live, removes as well, and nothing from before it', () => {
    const live = new LiveOps(Number.POSITIVE_INFINITY, 5n as Lsn);
    const before = chunkOf([put(1), put(7), remove(8)], undefined, 5n as Lsn);
    const after = chunkOf([put(1), remove(2), put(3)], undefined, 6n as Lsn);
    const later = chunkOf([remove(1), put(2)], undefined, 7n as Lsn);
    for (const { directory, payload } of [before, after, later]) live.offer(directory, payload);
    const flags = Array.from({ length: 8 }, (_, op) => live.isLive(op));
    expect(flags).toEqual([false, false, false, false, false, true, true, true]);
  });

  it('rows whose hashes meet are told apart by their keys', () => {
    const colliding = () => 42;
    expect(liveOf([[put(1), put('1'), put(300)], [put('1')], [remove(300)]], colliding)).toEqual([
      true,
      false,
      false,
      true,
      false,
    ]);
  });

  it('equals a map from key to newest op, over many random chunks, looked at whole or in parts', () => {
    const random = randomFrom(seededRandom().seed);
    for (let round = 0; round < 20; round++) {
      const keys = random.pick([3, 50, 5000]);
      const chunks = Array.from({ length: random.int(1, 30) }, () =>
        Array.from({ length: random.int(0, 200) }, () => {
          const key = random.chance(0.5) ? random.int(0, keys) : `k${random.int(0, keys)}`;
          return random.chance(0.7) ? put(key) : remove(key);
        }),
      );
      const ops = chunks.flat();
      const newest = new Map(ops.map(({ key }, i) => [`${typeof key}${key}`, i]));
      const expected = ops.map(({ key, isPut }, i) => isPut && newest.get(`${typeof key}${key}`) === i);
      const hash = random.chance(0.3) ? (key: number | string) => String(key).length : undefined;
      expect(liveOf(chunks, hash, random.int(1, 5))).toEqual(expected);
    }
  }, 20_000);

  it('L16: a part holds no more rows than it may, and says so', () => {
    const live = new LiveOps(10);
    for (let i = 0; i < 10; i++) offerOne(live, i);
    expect(live.isOverfull).toBe(false);
    offerOne(live, 10);
    expect(live.isOverfull).toBe(true);
  });

  it('a directory that does not fit its payload is refused', () => {
    const two = chunkOf([put(1), put(2)]);
    const one = chunkOf([put(1)]);
    expect(() => new LiveOps().offer(two.directory, one.payload)).toThrow(MalformedBytesError);
    expect(() => new LiveOps().offer(one.directory, two.payload)).toThrow(MalformedBytesError);
  });
});
