import { describe, expect, test } from 'vitest';
import { BUCKETS, cell, mutate, NOTES, newSource, randomNote } from '../testing/fixtures.ts';
import { Random } from '../testing/random.ts';
import { dump, expectedDump, memoryDatabaseIn, testModule } from '../testing/replica-fixture.ts';
import { TestClock } from '../testing/test-clock.ts';
import { TestGateway } from '../testing/test-gateway.ts';
import type { CheckpointInfo, Status } from '../types.ts';
import { ClientCore } from './client-core.ts';
import { type ResultFrame, rowsFromFrame } from './query/frame.ts';
import type { Database } from './sqlite/database.ts';
import { SQLITE, SqliteFailure } from './sqlite/module.ts';

const seed = Number(process.env.SLUICE_SEED ?? Math.floor(Math.random() * 2 ** 31));

/** A client on a memory database with a gateway, a clock and a random number generator of its own. */
async function bench(onStep?: () => void) {
  const source = newSource();
  const gateway = new TestGateway(source, BUCKETS.slice(0, 7));
  const clock = new TestClock();
  const statuses: Status[] = [];
  let db: Database | undefined;
  const module = await testModule();
  const core = new ClientCore({
    project: 'demo',
    sdk: 'test',
    module,
    storage: {
      kind: 'memory',
      degraded: undefined,
      open: () => {
        db = memoryDatabaseIn(module);
        return db;
      },
      destroy: () => undefined,
      release: () => undefined,
    },
    clock,
    random: () => 0.5,
    openSocket: () => gateway.connect(),
    fetchToken: () => Promise.resolve('token'),
    onStatus: (status) => statuses.push(status),
    bufferedBytesMax: undefined,
    inflate: undefined,
    onStep,
  });
  const database = (): Database => {
    if (!db) throw new Error('closed');
    return db;
  };
  /** Lets the token's promise settle, then opens the socket. */
  const settle = async (): Promise<void> => {
    for (let i = 0; i < 5; i++) await Promise.resolve();
    gateway.accept();
  };
  const connect = async (): Promise<void> => {
    core.connect();
    await settle();
  };
  const reconnect = async (): Promise<void> => {
    clock.advance(10_000);
    await settle();
  };
  const expectModel = (): void =>
    expect(dump(database(), source)).toEqual(expectedDump(database(), source, gateway.wanted));
  return { core, source, gateway, clock, statuses, connect, reconnect, expectModel, database };
}

describe(`client core (SLUICE_SEED=${seed})`, () => {
  test('L12: it follows pushed checkpoints and claims on reconnect what it holds', async () => {
    const { core, source, gateway, connect, reconnect, expectModel, statuses } = await bench();
    const random = new Random(seed);
    mutate(source, random, 1, 50);
    await connect();
    expectModel();
    for (let i = 0; i < 5; i++) {
      mutate(source, random, 2, 20);
      if (i === 3) gateway.wanted = new Set(BUCKETS.slice(2));
      gateway.push();
      expectModel();
    }
    expect(core.status).toMatchObject({ connection: 'connected', lastError: undefined, progress: undefined });
    gateway.hangUp();
    expect(core.status).toMatchObject({ connection: 'offline', lastError: { code: 'CLIENT_CONNECTION_LOST' } });
    mutate(source, random, 1, 20);
    await reconnect();
    expectModel();
    expect(gateway.hellos[1]?.resume).toMatchObject({ epoch: 1, lsn: 6n });
    expect(new Set(gateway.hellos[1]?.resume?.buckets)).toEqual(gateway.wanted);
    expect(gateway.hellos[1]?.clientId).toBe(gateway.hellos[0]?.clientId);
    expect(gateway.received.filter(({ type }) => type === 'applied')).toHaveLength(7);
    expect(statuses.at(-1)?.checkpoint).toEqual({ epoch: 1, lsn: '0/7', committedAtMs: 7000 });
    core.close();
  });

  test('a live query runs again only when a table it reads changed, and delivers only another result', async () => {
    const { core, source, gateway, connect } = await bench();
    const note = (id: bigint, title: string) => [cell(id), cell(title), cell(null), cell(null), cell(0n)];
    source.beginFrame();
    source.set(NOTES.name, note(1n, 'one'), [BUCKETS[0] as never]);
    const seen: unknown[] = [];
    const links: unknown[] = [];
    const errors: string[] = [];
    const listener = (into: unknown[]) => ({
      onFrame: (frame: ResultFrame, checkpoint: CheckpointInfo | undefined) =>
        into.push([rowsFromFrame(frame), checkpoint?.committedAtMs]),
      onError: (error: unknown) => errors.push((error as { code: string }).code),
    });
    const key = core.addLive('SELECT title FROM notes WHERE id = ?', [1], listener(seen));
    core.addLive(`SELECT count(*) AS n FROM 'my "links"'`, [], listener(links));
    core.addLive('SELECT nothing FROM notes', [], listener([]));
    expect(seen).toEqual([]);
    await connect();
    const step = (id: bigint, title: string): void => {
      source.beginFrame();
      source.set(NOTES.name, note(id, title), [BUCKETS[0] as never]);
      gateway.push();
    };
    step(2n, 'other');
    step(1n, 'two');
    core.removeLive(key);
    step(1n, 'three');
    expect(seen).toEqual([
      [[{ title: 'one' }], 1000],
      [[{ title: 'two' }], 3000],
    ]);
    expect(links).toEqual([[[{ n: 0 }], 1000]]);
    expect(errors).toEqual(['CLIENT_QUERY_INVALID']);
    core.close();
  });

  test('L9: after a mismatch the bucket is asked for anew and the client converges by itself', async () => {
    const { core, source, gateway, connect, reconnect, expectModel } = await bench();
    mutate(source, new Random(seed), 1, 50);
    await connect();
    expectModel();
    source.beginFrame();
    source.set(NOTES.name, randomNote(new Random(seed), 3), [BUCKETS[0] as never]);
    const messages = source.checkpointMessages({
      held: gateway.wanted,
      wanted: gateway.wanted,
      replaced: new Set(),
      reset: false,
    });
    gateway.send(
      ...messages.map((message) =>
        message.type === 'checkpoint-end'
          ? { ...message, sums: message.sums.map((sum) => ({ ...sum, rows: sum.rows + 1 })) }
          : message,
      ),
    );
    expect(core.status.lastError?.code).toBe('CHECKSUM_MISMATCH');
    await reconnect();
    expectModel();
    expect(gateway.hellos.at(-1)?.resume?.buckets).not.toContain(BUCKETS[0]);
    expect(core.status.lastError).toBeUndefined();
    expect(core.verify().ok).toBe(true);
    core.close();
  });

  test('L9: rows that were damaged on the device are found, and loaded anew when that is asked for', async () => {
    const { core, source, gateway, connect, reconnect, expectModel, database } = await bench();
    mutate(source, new Random(seed), 1, 50);
    await connect();
    expectModel();
    database().run(`UPDATE "${NOTES.name}" SET title = 'damaged'`);
    expect(core.verify().ok).toBe(false);
    expect(core.status.connection).toBe('connected');
    expect(core.verify({ heal: true }).problems.length).toBeGreaterThan(0);
    await reconnect();
    expect(gateway.hellos.at(-1)?.resume).toBeUndefined();
    expectModel();
    expect(core.verify({ heal: true }).ok).toBe(true);
    expect(core.status.connection).toBe('connected');
    core.close();
  });

  test('damage that is found offline is healed by the next connection', async () => {
    const { core, source, connect, reconnect, expectModel, database } = await bench();
    mutate(source, new Random(seed), 1, 50);
    await connect();
    core.disconnect();
    database().run(`DELETE FROM "${NOTES.name}"`);
    expect(core.verify({ heal: true }).ok).toBe(false);
    core.connect();
    await reconnect();
    expectModel();
    core.close();
  });

  test('whatever bytes the server sends, the tables are those of a whole checkpoint, and the client recovers', async () => {
    for (let round = 0; round < 12; round++) {
      const random = new Random(seed + round);
      const { core, source, gateway, connect, reconnect, expectModel, database } = await bench();
      mutate(source, random, 1, 40);
      await connect();
      let before = dump(database(), source);
      for (let step = 0; step < 6; step++) {
        mutate(source, random, 1, 15);
        gateway.tamper = tamperer(random);
        gateway.push();
        gateway.tamper = (bytes) => [bytes];
        const after = dump(database(), source);
        const expected = expectedDump(database(), source, gateway.wanted);
        expect([before, expected]).toContainEqual(after);
        expect(core.verify().ok).toBe(true);
        if (!gateway.isConnected) {
          expect(core.status.lastError?.code).toMatch(
            /^(CLIENT_FRAME_|CLIENT_CHUNK_INVALID|CLIENT_SCHEMA|CHECKSUM|CLIENT_VERSION)/,
          );
          if (core.status.lastError?.code === 'CLIENT_VERSION_UNSUPPORTED') core.connect();
          await reconnect();
        }
        // What was lost on the way without a trace, as a whole message, is asked for again by hanging up.
        if (!core.status.checkpoint || JSON.stringify(dump(database(), source)) !== JSON.stringify(expected)) {
          gateway.hangUp();
          await reconnect();
        }
        expectModel();
        before = dump(database(), source);
      }
      core.close();
    }
  }, 60_000);

  test('a database that is damaged while it runs is erased and loaded again', async () => {
    let damaged = false;
    const { core, source, gateway, connect, expectModel } = await bench(() => {
      if (damaged) throw new SqliteFailure(SQLITE.corrupt, 'damaged');
    });
    mutate(source, new Random(seed), 1, 40);
    await connect();
    mutate(source, new Random(seed + 1), 1, 40);
    damaged = true;
    gateway.push();
    damaged = false;
    expect(core.status).toMatchObject({ lastError: { code: 'CLIENT_STORAGE_CORRUPT' }, checkpoint: undefined });
    for (let i = 0; i < 5; i++) await Promise.resolve();
    gateway.accept();
    expectModel();
    core.close();
    expect(() => core.query('SELECT 1', [])).toThrow(/CLIENT_CLOSED/);
  });

  test('values come back exactly: integers beyond 2^53 as bigint, -0, NaN text, infinities, blobs', async () => {
    const { core, source, connect } = await bench();
    source.beginFrame();
    const rows = [
      [cell(1n), cell('a\uFEFFü😀'), cell(-0, true), cell(Uint8Array.of(0, 255, 128)), cell(2n ** 63n - 1n)],
      [cell(2n), cell(''), cell(Number.NEGATIVE_INFINITY, true), cell(new Uint8Array()), cell(-(2n ** 53n) - 1n)],
      [cell(-(2n ** 63n)), cell(null), cell('NaN'), cell(null), cell(2n ** 53n - 1n)],
    ];
    for (const row of rows) source.set(NOTES.name, row, [BUCKETS[0] as never]);
    await connect();
    const result = rowsFromFrame(core.query('SELECT * FROM notes ORDER BY id', []));
    expect(result).toEqual([
      { id: -(2n ** 63n), title: null, score: 'NaN', body: null, count: 2 ** 53 - 1 },
      { id: 1, title: 'a\uFEFFü😀', score: -0, body: Uint8Array.of(0, 255, 128), count: 2n ** 63n - 1n },
      { id: 2, title: '', score: Number.NEGATIVE_INFINITY, body: new Uint8Array(), count: -(2n ** 53n) - 1n },
    ]);
    expect(core.verify().ok).toBe(true);
    const parameters = [2n ** 63n - 1n, 2 ** 53, true, null, Uint8Array.of(1), 'ü', -0];
    const [echo] = rowsFromFrame(
      core.query('SELECT ?1 AS a, ?2 AS b, ?3 AS c, ?4 AS d, ?5 AS e, ?6 AS f, ?7 AS g, typeof(?2) AS tb', parameters),
    );
    expect(echo).toEqual({
      a: 2n ** 63n - 1n,
      b: 2 ** 53,
      c: 1,
      d: null,
      e: Uint8Array.of(1),
      f: 'ü',
      g: -0,
      tb: 'real',
    });
    core.close();
  });

  test('a query that does more than read, or cannot run, is refused with its code', async () => {
    const { core, connect } = await bench();
    expect(() => core.query('SELECT * FROM notes', [])).toThrow(/CLIENT_NOT_READY/);
    await connect();
    const refused = {
      CLIENT_QUERY_NOT_READ_ONLY: [
        'DELETE FROM notes',
        'INSERT INTO notes(id) VALUES (1)',
        'CREATE TEMP TABLE x (y)',
        'BEGIN',
        'SAVEPOINT a',
        'VACUUM',
        "ATTACH ':memory:' AS x",
        'PRAGMA journal_mode = DELETE',
        'PRAGMA wal_checkpoint',
        'SELECT 1; SELECT 2',
        'SELECT 1; DELETE FROM notes',
      ],
      CLIENT_QUERY_INVALID: [
        '',
        ';',
        '-- nothing',
        'SELEC 1',
        'SELECT * FROM missing',
        'SELECT 1\0',
        'SELECT 1; nonsense',
      ],
      CLIENT_QUERY_PARAMETER_INVALID: ['SELECT ?'],
    };
    for (const [code, queries] of Object.entries(refused))
      for (const sql of queries) expect(() => core.query(sql, []), sql).toThrow(code);
    for (const bad of [Number.NaN, 2n ** 63n, undefined, {}, Symbol.iterator])
      expect(() => core.query('SELECT ?', [bad as never])).toThrow(/CLIENT_QUERY_PARAMETER_INVALID/);
    for (const sql of [
      'SELECT 1;',
      'SELECT 1 -- done',
      'EXPLAIN QUERY PLAN SELECT * FROM notes',
      'VALUES (1)',
      'WITH a AS (SELECT 1) SELECT * FROM a',
    ])
      expect(core.query(sql, []).rows).toBeGreaterThan(0);
    core.close();
  });

  test('signing out erases rows and identity, and live queries see the next user', async () => {
    const { core, source, gateway, connect, expectModel, database } = await bench();
    const counts: unknown[] = [];
    core.addLive('SELECT count(*) AS n FROM notes', [], {
      onFrame: (frame) => counts.push(rowsFromFrame(frame)[0]?.n),
      onError: () => undefined,
    });
    source.beginFrame();
    source.set(NOTES.name, randomNote(new Random(1), 1), [BUCKETS[0] as never]);
    await connect();
    core.signOut();
    expect(core.status).toMatchObject({ connection: 'offline', checkpoint: undefined });
    database().forEachRow("SELECT count(*) FROM sqlite_schema WHERE name = 'notes'", [], (row) =>
      expect(row.int(0)).toBe(0),
    );
    gateway.wanted = new Set();
    await connect();
    expectModel();
    expect(counts).toEqual([1, 0]);
    core.close();
  });
});

/** Damages, doubles, drops, cuts or swaps some messages. */
function tamperer(random: Random): (bytes: Uint8Array<ArrayBuffer>) => readonly Uint8Array<ArrayBuffer>[] {
  let kept: Uint8Array<ArrayBuffer> | undefined;
  return (bytes) => {
    if (random.chance(0.6)) return [bytes];
    switch (random.int(6)) {
      case 0: {
        const damaged = bytes.slice();
        const at = random.int(damaged.length);
        damaged[at] = random.int(256);
        return [damaged];
      }
      case 1:
        return [bytes, bytes];
      case 2:
        return [];
      case 3:
        return [bytes.slice(0, random.int(bytes.length))];
      case 4:
        return [Uint8Array.from({ length: random.int(50) }, () => random.int(256)), bytes];
      default: {
        const swapped = kept ? [bytes, kept] : [];
        kept = kept ? undefined : bytes;
        return swapped;
      }
    }
  };
}
