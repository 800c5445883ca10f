import type { BucketId } from '@sluice/domain';
import { CODEC_DEFLATE_RAW, type ServerMessage } from '@sluice/protocol';
import { describe, expect, test } from 'vitest';
import { BUCKETS, cell, LINKS, mutate, NOTES, newSource, randomNote, STREAMS } from '../../testing/fixtures.ts';
import { bucketId, ModelSource } from '../../testing/model-source.ts';
import { Random } from '../../testing/random.ts';
import { dump, expectedDump, feed, memoryDatabase, replicaOn } from '../../testing/replica-fixture.ts';
import { ChecksumMismatch } from './apply-checkpoint.ts';

const seed = Number(process.env.SLUICE_SEED ?? Math.floor(Math.random() * 2 ** 31));
const NONE: ReadonlySet<BucketId> = new Set();

describe(`replica (SLUICE_SEED=${seed})`, () => {
  test('L9 L12: after each of many random checkpoints the tables equal the model, and every checksum holds', async () => {
    for (let history = 0; history < 12; history++) {
      const random = new Random(seed + history);
      const db = await memoryDatabase();
      const replica = replicaOn(db, random.chance(0.3) ? { bufferedBytesMax: 2000 } : {});
      const source = newSource();
      let held: ReadonlySet<BucketId> = NONE;
      feed(replica, [source.schemaMessage()]);
      for (let step = 0; step < 12; step++) {
        mutate(source, random, random.int(5), random.int(30));
        const reset = step === 0 || random.chance(0.08);
        if (reset && step > 0 && random.chance(0.5)) source.epoch++;
        const wanted = random.chance(0.5) && step > 0 ? held : new Set(random.subset(BUCKETS, 0.6));
        const replaced = new Set(random.subset(BUCKETS, 0.15));
        const messages = source.checkpointMessages({
          held,
          wanted,
          replaced,
          reset,
          deflate: random.chance(0.5),
          opsPerChunk: random.pick([1, 3, 1000]),
        });
        feed(replica, messages);
        held = wanted;
        expect(dump(db, source), `history ${history}, step ${step}`).toEqual(expectedDump(db, source, held));
        expect(replica.verify()).toMatchObject({ ok: true, problems: [] });
        expect(new Set(replica.resumePoint(NONE)?.buckets)).toEqual(held);
      }
      db.close();
    }
  }, 60_000);

  test('L12: a row that one bucket let go of keeps the content of the other, whatever their order', async () => {
    const [a, b, c] = BUCKETS as [BucketId, BucketId, BucketId];
    const row = (title: string) => [cell(1n), cell(title), cell(null), cell(null), cell(0n)];
    for (const joined of [[], [c]]) {
      for (const order of [
        [a, b],
        [b, a],
      ]) {
        const db = await memoryDatabase();
        const replica = replicaOn(db);
        const source = newSource();
        const held = new Set(order);
        source.beginFrame();
        source.set(NOTES.name, row('old'), [a, b]);
        const first = source.checkpointMessages({ held: NONE, wanted: held, replaced: NONE, reset: true });
        feed(replica, [source.schemaMessage(), ...first]);
        // It changes in both, then leaves the one with its next change; a third bucket may come whole.
        source.beginFrame();
        source.set(NOTES.name, row('between'), [a, b]);
        source.beginFrame();
        source.set(NOTES.name, row('new'), [b, ...joined]);
        const wanted = new Set([...order, ...joined]);
        feed(replica, source.checkpointMessages({ held, wanted, replaced: NONE, reset: false }));
        expect(dump(db, source)[NOTES.name]).toEqual(['integer:1|text:new|null:|null:|integer:0']);
        expect(replica.verify().ok).toBe(true);
        db.close();
      }
    }
  });

  test('L9: a wrong checksum or row count names its bucket, and the checkpoint before stays whole', async () => {
    const { db, replica, source, held } = await started(seed);
    const before = dump(db, source);
    const resume = replica.resumePoint(NONE);
    mutate(source, new Random(seed), 1, 40);
    const messages = source.checkpointMessages({ held, wanted: held, replaced: NONE, reset: false });
    const end = messages.at(-1) as Extract<ServerMessage, { type: 'checkpoint-end' }>;
    const head = messages[0] as Extract<ServerMessage, { type: 'checkpoint' }>;
    for (const wrong of [{ checksum: 12345n }, { rows: 99999 }]) {
      const sums = end.sums.map((sum, i) => (i === 0 ? { ...sum, ...wrong } : sum));
      const error = caught(() => feed(replica, [...messages.slice(0, -1), { ...end, sums }]));
      expect(error).toBeInstanceOf(ChecksumMismatch);
      const named = [...head.replace, ...head.extend].find(({ no }) => no === end.sums[0]?.no)?.bucket;
      expect((error as ChecksumMismatch).buckets).toEqual([named]);
      expect(dump(db, source)).toEqual(before);
      expect(replica.resumePoint(NONE)).toEqual(resume);
      expect(replica.verify().ok).toBe(true);
    }
    feed(replica, messages);
    expect(dump(db, source)).toEqual(expectedDump(db, source, held));
  });

  test('L9: rows that change in a bucket which the checkpoint does not name are refused', async () => {
    const [a, b] = BUCKETS as [BucketId, BucketId];
    const source = newSource();
    const db = await memoryDatabase();
    const replica = replicaOn(db);
    source.beginFrame();
    source.set(NOTES.name, randomNote(new Random(1), 1), [a, b]);
    const held = new Set([a, b]);
    feed(replica, [
      source.schemaMessage(),
      ...source.checkpointMessages({ held: NONE, wanted: held, replaced: NONE, reset: true }),
    ]);
    source.beginFrame();
    source.set(NOTES.name, randomNote(new Random(2), 1), [a, b]);
    const messages = source.checkpointMessages({
      held: new Set([a]),
      wanted: new Set([a]),
      replaced: NONE,
      reset: false,
    });
    const error = caught(() => feed(replica, messages));
    expect((error as ChecksumMismatch).buckets).toEqual([b]);
  });

  test('L12: ended at any step of a checkpoint, the tables are those of the checkpoint before', async () => {
    for (const failing of ['begin', 'released', 'schema', 'chunk', 'summed', 'written']) {
      let armed = false;
      const { db, replica, source, held } = await started(seed, (step) => {
        if (armed && step === failing) throw new Error('ended');
      });
      const before = dump(db, source);
      mutate(source, new Random(seed + 1), 2, 30);
      const wanted = new Set(BUCKETS.slice(2));
      const messages = source.checkpointMessages({ held, wanted, replaced: new Set([bucketId(4)]), reset: false });
      armed = true;
      expect(caught(() => feed(replica, messages))).toMatchObject({ message: 'ended' });
      expect(dump(db, source)).toEqual(before);
      expect(replica.verify().ok).toBe(true);
      armed = false;
      feed(replica, messages);
      expect(dump(db, source)).toEqual(expectedDump(db, source, wanted));
      db.close();
    }
  });

  test('L12: chunks beyond the memory bound are staged in the database and leave nothing there', async () => {
    const db = await memoryDatabase();
    const replica = replicaOn(db, { bufferedBytesMax: 500 });
    const source = newSource();
    mutate(source, new Random(seed), 3, 200);
    const wanted = new Set(BUCKETS);
    const messages = source.checkpointMessages({ held: NONE, wanted, replaced: NONE, reset: true, opsPerChunk: 2 });
    feed(replica, [source.schemaMessage(), ...messages.slice(0, -1)]);
    expect(count(db, '_sluice_stage')).toBeGreaterThan(10);
    feed(replica, messages);
    expect(count(db, '_sluice_stage')).toBe(0);
    expect(dump(db, source)).toEqual(expectedDump(db, source, wanted));
  });

  test('L11: new, changed and dropped tables appear with the checkpoint that needs them, not before', async () => {
    const { db, replica, source } = await started(seed);
    const grown = {
      ...NOTES,
      columns: [...NOTES.columns, { name: 'added', sqliteType: 'TEXT', pgType: 'text' } as const],
    };
    const fresh = {
      name: 'fresh',
      keyColumns: 1,
      columns: [{ name: 'k', sqliteType: 'TEXT', pgType: 'text' } as const],
    };
    const next = new ModelSource(
      [grown, fresh],
      [
        { stream: 11 as never, name: 'own_notes', table: 'notes' },
        { stream: 12 as never, name: 'f', table: 'fresh' },
      ],
    );
    next.lsn = source.lsn;
    next.addBucket(bucketId(100), 11);
    next.addBucket(bucketId(101), 12);
    next.beginFrame();
    next.set('notes', [...randomNote(new Random(5), 1), cell('more')], [bucketId(100)]);
    next.set('fresh', [cell('k')], [bucketId(101)]);
    const before = dump(db, source);
    feed(replica, [next.schemaMessage()]);
    expect(dump(db, source)).toEqual(before);
    const held = new Set(replica.resumePoint(NONE)?.buckets);
    const wanted = new Set([bucketId(100), bucketId(101)]);
    const applied = feed(replica, next.checkpointMessages({ held, wanted, replaced: NONE, reset: false }));
    expect(applied?.schemaChanged).toBe(true);
    expect([...(applied?.changedTables ?? [])].sort()).toEqual(['fresh', LINKS.name, 'notes']);
    expect(dump(db, next)).toEqual(expectedDump(db, next, wanted));
    expect(count(db, 'sqlite_schema', `name = '${LINKS.name.replaceAll("'", "''")}'`)).toBe(0);
    expect(replica.verify().ok).toBe(true);
  });

  test('L11: a kept bucket whose table changes is refused, and nothing changes', async () => {
    const { db, replica, source, held } = await started(seed);
    const before = dump(db, source);
    const shrunk = { ...NOTES, columns: NOTES.columns.slice(0, 3) };
    replica.announce([shrunk, LINKS], STREAMS);
    const messages = source.checkpointMessages({ held, wanted: held, replaced: NONE, reset: false });
    expect(caught(() => feed(replica, messages))).toMatchObject({ code: 'CLIENT_FRAME_OUT_OF_ORDER' });
    expect(dump(db, source)).toEqual(before);
  });

  test('a schema that SQLite cannot hold is refused with its code', async () => {
    const replica = replicaOn(await memoryDatabase());
    const column = (name: string) => ({ name, sqliteType: 'TEXT', pgType: 'text' }) as const;
    const bad = [
      [{ name: '_sluice_state', keyColumns: 1, columns: [column('a')] }],
      [{ name: 'sqlite_x', keyColumns: 1, columns: [column('a')] }],
      [{ name: 't', keyColumns: 1, columns: [column('a'), column('A')] }],
      [{ name: 't', keyColumns: 1, columns: [column('_sluice_hash')] }],
      [{ name: 't', keyColumns: 1, columns: ['rowid', 'OID', '_rowid_'].map(column) }],
      [{ name: '', keyColumns: 1, columns: [column('a')] }],
      ['T', 't'].map((name) => ({ name, keyColumns: 1, columns: [column('a')] })),
    ];
    for (const tables of bad)
      expect(caught(() => replica.announce(tables, []))).toMatchObject({ code: 'CLIENT_SCHEMA_INVALID' });
  });

  test('malformed payloads, wrong op counts and lengths each end in a code and apply nothing', async () => {
    const { db, replica, source, held } = await started(seed);
    let before = dump(db, source);
    mutate(source, new Random(seed + 2), 1, 60);
    const messages = source.checkpointMessages({ held, wanted: held, replaced: NONE, reset: false });
    const after = expectedDump(db, source, held);
    const random = new Random(seed + 3);
    let refused = 0;
    for (let round = 0; round < 300; round++) {
      const at = messages.findIndex((message, i) => i > 0 && message.type === 'chunk' && random.chance(0.5));
      if (at < 0) continue;
      const chunk = messages[at] as Extract<ServerMessage, { type: 'chunk' }>;
      const damaged = [...messages];
      damaged[at] = damage(random, chunk);
      try {
        feed(replica, damaged);
        // The removal of a row that was never there may be damaged without harm; anything else may not.
        before = after;
      } catch (error) {
        const known = error instanceof ChecksumMismatch || (error as { code?: string }).code === 'CLIENT_CHUNK_INVALID';
        expect(known, String(error)).toBe(true);
        refused++;
      }
      expect(dump(db, source)).toEqual(before);
    }
    expect(refused).toBeGreaterThan(100);
    feed(replica, messages);
    expect(dump(db, source)).toEqual(after);
  }, 60_000);

  test('a payload that inflates beyond what it announces is refused without its memory', async () => {
    const { replica, source, held } = await started(seed);
    const { deflateSync } = await import('fflate');
    mutate(source, new Random(seed + 2), 1, 60);
    const messages = source.checkpointMessages({ held, wanted: held, replaced: NONE, reset: false });
    const at = messages.findIndex(({ type }) => type === 'chunk');
    const chunk = messages[at] as Extract<ServerMessage, { type: 'chunk' }>;
    const bomb = deflateSync(new Uint8Array(16 * 1024 * 1024));
    messages[at] = { ...chunk, codec: CODEC_DEFLATE_RAW, payload: bomb, payloadBytes: 1000 };
    expect(caught(() => feed(replica, messages))).toMatchObject({ code: 'CLIENT_CHUNK_INVALID' });
  });

  test('a database of another project is not opened', async () => {
    const db = await memoryDatabase();
    replicaOn(db, { project: 'one' });
    expect(caught(() => replicaOn(db, { project: 'two' }))).toMatchObject({ code: 'CLIENT_STORAGE_CORRUPT' });
  });
});

async function started(from: number, onStep?: (step: string) => void) {
  const db = await memoryDatabase();
  const replica = replicaOn(db, onStep ? { onStep } : {});
  const source = newSource();
  mutate(source, new Random(from), 2, 80);
  const held = new Set(BUCKETS.slice(0, 7));
  const messages = source.checkpointMessages({ held: NONE, wanted: held, replaced: NONE, reset: true });
  feed(replica, [source.schemaMessage(), ...messages]);
  expect(dump(db, source)).toEqual(expectedDump(db, source, held));
  return { db, replica, source, held };
}

type Chunk = Extract<ServerMessage, { type: 'chunk' }>;
function damage(random: Random, chunk: Chunk): Chunk {
  const payload = chunk.payload.slice();
  switch (random.int(4)) {
    case 0:
      return { ...chunk, ops: chunk.ops + 1 };
    case 1: {
      const cut = payload.subarray(0, random.int(payload.length));
      return { ...chunk, payload: cut, payloadBytes: cut.length };
    }
    case 2:
      return { ...chunk, payloadBytes: chunk.payloadBytes + 1 };
    default: {
      const at = random.int(payload.length);
      payload[at] = ((payload[at] ?? 0) + 1 + random.int(255)) & 0xff;
      return { ...chunk, payload };
    }
  }
}
function caught(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}
function count(db: Awaited<ReturnType<typeof memoryDatabase>>, table: string, where = '1'): number {
  let rows = 0;
  db.forEachRow(`SELECT count(*) FROM ${table} WHERE ${where}`, [], (row) => {
    rows = row.int(0);
  });
  return rows;
}
