import { type FreshDatabase, freshDatabase, query } from '@sluice/testkit';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type RareMessage, type RelationMessage, readMessage } from './read-message.ts';
import { isRowMessage, RowMessage, readRowMessage, SLOT } from './row-message.ts';
import { viewOf } from './testing-bytes.ts';

/** Proves the facts of docs/schema-changes.md: what one decoding run sends when `ddl` stands between two changes. */

let database: FreshDatabase;
beforeEach(async () => {
  database = await freshDatabase('schema');
  await query(
    database.url,
    `CREATE TABLE parent (id int4 PRIMARY KEY);
     CREATE TABLE t (id int4 PRIMARY KEY, a varchar(10) DEFAULT 'd', b int4 REFERENCES parent);
     ALTER TABLE t REPLICA IDENTITY FULL;
     CREATE PUBLICATION p FOR TABLE t, parent;
     INSERT INTO t VALUES (1, 'before');`,
  );
  await query(database.url, 'SELECT pg_create_logical_replication_slot($1, $2)', [slot(), 'pgoutput']);
});
afterEach(() => database[Symbol.asyncDispose]());

function slot(): string {
  return `${database.name}_s`;
}

interface Sent {
  /** First bytes, without Begin and Commit. */
  readonly kinds: string;
  readonly relations: readonly RelationMessage[];
  /** The new row of each insert and update: text, null, or undefined for unchanged TOAST. */
  readonly rows: readonly (readonly (string | null | undefined)[])[];
  readonly rowOids: readonly number[];
  /** The OIDs that each Truncate names. */
  readonly truncated: readonly (readonly number[])[];
}

/** Runs the statements, each in its own transaction, and gives what the stream sends for all of them. */
async function sentFor(...statements: readonly string[]): Promise<Sent> {
  for (const statement of statements) await query(database.url, statement);
  const changes = await query<{ data: Uint8Array }>(
    database.url,
    `SELECT data FROM pg_logical_slot_get_binary_changes('${slot()}', NULL, NULL, 'proto_version', '1', 'publication_names', 'p')`,
  );
  const messages = changes.map(({ data }) => Uint8Array.from(data));
  const rare = messages.filter((each) => !isRowMessage(each[0] as number)).map(rareFrom);
  const rowMessages = messages.filter((each) => isRowMessage(each[0] as number));
  const kinds = messages.map((each) => String.fromCharCode(each[0] as number)).join('');
  return {
    kinds: kinds.replaceAll(/[BC]/g, ''),
    relations: rare.filter((message) => message.kind === 'relation'),
    rows: rowMessages.map(newRowOf),
    rowOids: rowMessages.map((bytes) => viewOf(bytes).getUint32(1)),
    truncated: rare.filter((message) => message.kind === 'truncate').map((message) => message.relationOids),
  };
}

function rareFrom(bytes: Uint8Array): RareMessage {
  return readMessage(bytes, viewOf(bytes), 0, bytes.length);
}
function newRowOf(bytes: Uint8Array): (string | null | undefined)[] {
  const row = new RowMessage();
  readRowMessage(bytes, viewOf(bytes), 0, bytes.length, row);
  return Array.from({ length: row.new.count }, (_, i) => {
    if (row.new.kind[i] === SLOT.null) return null;
    if (row.new.kind[i] === SLOT.unchanged) return undefined;
    return new TextDecoder().decode(bytes.subarray(row.new.start[i], row.new.end[i]));
  });
}

const INSERT_2 = "INSERT INTO t (id, a) VALUES (2, 'x')";
const INSERT_3 = 'INSERT INTO t (id) VALUES (3)';
const TOUCH_1 = "UPDATE t SET a = 'touched' WHERE id = 1";

describe('a changed table is described again before its next row, and only then', () => {
  test.each([
    ['ADD COLUMN', 'ALTER TABLE t ADD c text', ['id', 'a', 'b', 'c']],
    ['DROP COLUMN', 'ALTER TABLE t DROP a', ['id', 'b']],
    ['RENAME COLUMN', 'ALTER TABLE t RENAME a TO "A b"', ['id', 'A b', 'b']],
    ['drop and add of the same name', 'ALTER TABLE t DROP a; ALTER TABLE t ADD a text', ['id', 'b', 'a']],
    ['ADD of a stored generated column', 'ALTER TABLE t ADD g int GENERATED ALWAYS AS (id) STORED', ['id', 'a', 'b']],
  ])('%s', async (_, ddl, names) => {
    const sent = await sentFor(INSERT_2, ddl, INSERT_3);
    expect(sent.kinds).toBe('RIRI');
    expect(sent.relations[1]?.columns.map((column) => column.name)).toEqual(names);
    expect(sent.relations[1]?.oid).toBe(sent.relations[0]?.oid);
  });

  test('retyping a column shows its new OID or typmod', async () => {
    const sent = await sentFor(
      INSERT_2,
      'ALTER TABLE t ALTER a TYPE varchar(20), ALTER b TYPE int8; ALTER TABLE parent ALTER id TYPE int8',
      INSERT_3,
    );
    expect(sent.kinds).toBe('RIRI');
    expect(
      sent.relations.map(({ columns }) => columns.slice(1).map(({ typeOid, typmod }) => [typeOid, typmod])),
    ).toEqual([
      [
        [1043, 14],
        [23, -1],
      ],
      [
        [1043, 24],
        [20, -1],
      ],
    ]);
  });

  test('a renamed or moved table keeps its OID', async () => {
    const sent = await sentFor(
      INSERT_2,
      'CREATE SCHEMA "other s"; ALTER TABLE t RENAME TO u; ALTER TABLE u SET SCHEMA "other s"',
      'INSERT INTO "other s".u (id) VALUES (3)',
    );
    expect(sent.kinds).toBe('RIRI');
    expect(sent.relations[1]).toMatchObject({ oid: sent.relations[0]?.oid, schema: 'other s', name: 'u' });
  });

  test('a table dropped and made anew has another OID, and nothing tells of its old rows', async () => {
    const sent = await sentFor(
      INSERT_2,
      'DROP TABLE t; CREATE TABLE t (id int4 PRIMARY KEY, a text); ALTER PUBLICATION p ADD TABLE t',
      INSERT_3,
    );
    expect(sent.kinds).toBe('RIRI');
    expect(sent.relations[1]?.oid).not.toBe(sent.relations[0]?.oid);
    expect(sent.relations[1]?.replicaIdentity).toBe('d');
  });

  test('a changed replica identity shows in the letter and in the key columns', async () => {
    const sent = await sentFor(INSERT_2, 'ALTER TABLE t REPLICA IDENTITY DEFAULT', INSERT_3);
    expect(sent.kinds).toBe('RIRI');
    expect(sent.relations.map((each) => [each.replicaIdentity, each.columns.map((column) => column.key)])).toEqual([
      ['f', [true, true, true]],
      ['d', [true, false, false]],
    ]);
  });

  test('what changes no row (default, NOT NULL, index, comment) may describe the table again, but equally', async () => {
    for (const ddl of [
      "ALTER TABLE t ALTER a SET DEFAULT 'e'",
      'ALTER TABLE t ALTER a SET NOT NULL',
      'CREATE INDEX ON t (a)',
      "COMMENT ON COLUMN t.a IS 'c'",
    ]) {
      const sent = await sentFor('DELETE FROM t', INSERT_2, ddl, INSERT_3);
      expect(sent.kinds.replaceAll('R', ''), ddl).toMatch(/^D*II$/);
      for (const relation of sent.relations) expect(relation, ddl).toEqual(sent.relations[0]);
    }
  });
});

describe('a table can change while its description stays equal', () => {
  test.each([
    ['the last column dropped and added anew: old values are gone', 'ALTER TABLE t DROP b; ALTER TABLE t ADD b int4'],
    ['a rewrite to the same type: old values are new', 'ALTER TABLE t ALTER a TYPE varchar(10) USING upper(a)'],
  ])('%s', async (_, ddl) => {
    const sent = await sentFor(INSERT_2, ddl, INSERT_3);
    expect(sent.kinds).toBe('RIRI');
    expect(sent.relations[1]).toEqual(sent.relations[0]);
  });

  test('in one transaction the new description stands between the rows', async () => {
    const sent = await sentFor(`BEGIN; ${INSERT_2}; ALTER TABLE t ADD c int DEFAULT 7; ${INSERT_3}; COMMIT`);
    expect(sent.kinds).toBe('RIRI');
    expect(sent.rows).toEqual([
      ['2', 'x', null],
      ['3', 'd', null, '7'],
    ]);
  });
});

describe('rows that a statement changes without writing them one by one are not sent', () => {
  test.each([
    ['ADD COLUMN with a constant default', 'ALTER TABLE t ADD c int DEFAULT 7'],
    ['ADD COLUMN with a volatile default, which rewrites', 'ALTER TABLE t ADD c uuid DEFAULT gen_random_uuid()'],
    ['a type change that rewrites', 'ALTER TABLE t ALTER a TYPE text USING upper(a)'],
    ['VACUUM FULL', 'VACUUM FULL t'],
    ['DROP TABLE', 'DROP TABLE t'],
    ['DROP COLUMN', 'ALTER TABLE t DROP a'],
  ])('%s', async (_, ddl) => {
    expect((await sentFor(ddl)).kinds).toBe('');
  });

  test('an old row shows its new default only when something else updates it', async () => {
    const sent = await sentFor('ALTER TABLE t ADD c int DEFAULT 7', TOUCH_1);
    expect(sent.kinds).toBe('RU');
    expect(sent.rows).toEqual([['1', 'touched', null, '7']]);
  });

  test('a renamed enum label changes what rows print, and nothing is sent', async () => {
    await query(database.url, "CREATE TYPE mood AS ENUM ('sad', 'happy'); ALTER TABLE t ADD m mood DEFAULT 'sad'");
    const sent = await sentFor(
      INSERT_2,
      "ALTER TYPE mood ADD VALUE 'calm'",
      "ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'",
      INSERT_3,
    );
    expect(sent.kinds).toMatch(/^R?YRIR?Y?R?I$|^YRII$/);
    // The earlier row is decoded with its old label, the later one with the new: stored rows keep the old one.
    expect(sent.rows.map((row) => row[3])).toEqual(['sad', 'blue']);
  });

  test('rows written while a table is out of the publication are never sent', async () => {
    const sent = await sentFor(
      INSERT_2,
      'ALTER PUBLICATION p DROP TABLE t',
      'INSERT INTO t (id) VALUES (10)',
      'ALTER PUBLICATION p ADD TABLE t',
      INSERT_3,
    );
    expect(sent.rows.map((row) => row[0])).toEqual(['2', '3']);
  });
});

describe('TRUNCATE', () => {
  test('one message names every table that the statement empties', async () => {
    const sent = await sentFor('INSERT INTO parent VALUES (1)', 'TRUNCATE parent RESTART IDENTITY CASCADE');
    expect(sent.kinds).toBe('RIRRT');
    expect(sent.truncated).toEqual([sent.relations.slice(1).map((each) => each.oid)]);
    expect(sent.relations.slice(1).map((each) => each.name)).toEqual(['parent', 't']);
  });

  test('a cascade into tables outside the publication names only the published ones', async () => {
    await query(database.url, 'CREATE TABLE child (id int4 PRIMARY KEY REFERENCES t)');
    const sent = await sentFor('TRUNCATE t CASCADE');
    expect(sent.kinds).toBe('RT');
  });
});

describe('partitions', () => {
  const partitioned = `CREATE TABLE m (id int4 PRIMARY KEY, a text) PARTITION BY RANGE (id);
    CREATE TABLE m1 PARTITION OF m FOR VALUES FROM (0) TO (10);
    CREATE TABLE m2 PARTITION OF m FOR VALUES FROM (10) TO (20);`;

  test('a row that moves to another partition is a delete and an insert', async () => {
    await query(database.url, `${partitioned} ALTER TABLE m1 REPLICA IDENTITY FULL; ALTER PUBLICATION p ADD TABLE m`);
    const sent = await sentFor("INSERT INTO m VALUES (1, 'x')", 'UPDATE m SET id = 11');
    expect(sent.kinds.replaceAll('R', '')).toBe('IDI');
    expect(sent.relations.map((each) => each.name)).toEqual(expect.arrayContaining(['m1', 'm2']));
  });

  test('published by the root, emptying or attaching a partition is not sent', async () => {
    await query(database.url, `${partitioned} ALTER PUBLICATION p SET (publish_via_partition_root = true)`);
    await query(database.url, 'ALTER PUBLICATION p ADD TABLE m');
    const sent = await sentFor(
      "INSERT INTO m VALUES (1, 'x')",
      'TRUNCATE m1',
      "CREATE TABLE m3 (id int4 PRIMARY KEY, a text); INSERT INTO m3 VALUES (25, 'y')",
      'ALTER TABLE m ATTACH PARTITION m3 FOR VALUES FROM (20) TO (30)',
      'ALTER TABLE m DETACH PARTITION m2',
    );
    // The partition is described too, but the row names the root.
    expect(sent.kinds).toBe('RRI');
    expect(sent.relations.map((each) => each.name)).toEqual(['m', 'm1']);
    expect(sent.rowOids).toEqual([sent.relations[0]?.oid]);
  });
});

test('a published table cannot become unlogged', async () => {
  await expect(query(database.url, 'ALTER TABLE t SET UNLOGGED')).rejects.toMatchObject({ code: '55000' });
});
