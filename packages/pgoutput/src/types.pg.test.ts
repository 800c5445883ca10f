import { once } from 'node:events';
import { buffer } from 'node:stream/consumers';
import { ByteWriter, writeCell, writeNullCell } from '@sluice/domain';
import { cellEncoderFor, PINNED_SETTINGS_OPTIONS } from '@sluice/pg-values';
import {
  createTypeSamplesSql,
  insertTypeSamplesSql,
  TYPE_FAMILIES,
  TYPE_SAMPLE_ROWS,
  TYPE_SAMPLES,
} from '@sluice/pg-values/type-samples';
import { type FreshDatabase, freshDatabase } from '@sluice/testkit';
import { Client, type ClientConfig } from 'pg';
import { to as copyTo } from 'pg-copy-streams';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CopyDataFrame, FRAME, readCopyData } from './copy-data.ts';
import { insertFromCopyLine } from './insert-from-copy-line.ts';
import { MESSAGE } from './message-kind.ts';
import { type RelationMessage, readMessage } from './read-message.ts';
import { fillUnchangedToast, isRowMessage, RowMessage, readRowMessage, SLOT, type TupleSlots } from './row-message.ts';
import { viewOf } from './testing-bytes.ts';

/** Everything that a role can do to how values print; the pinned settings must outrank all of it. */
const HOSTILE_SETTINGS = {
  datestyle: "'SQL, DMY'",
  intervalstyle: 'sql_standard',
  timezone: "'Asia/Kathmandu'",
  extra_float_digits: '-15',
  bytea_output: 'escape',
  client_encoding: 'latin1',
  search_path: 'information_schema',
  quote_all_identifiers: 'on',
};
const TABLE = 'public.type_samples';

let database: FreshDatabase;
let hostileUrl: string;
let admin: Client;

beforeAll(async () => {
  database = await freshDatabase('types');
  admin = new Client({ connectionString: database.url });
  await admin.connect();
  hostileUrl = await createHostileRole(admin, database);
  for (const statement of createTypeSamplesSql(TABLE)) await admin.query(statement);
  await admin.query(`CREATE PUBLICATION samples FOR TABLE ${TABLE}`);
});
afterAll(async () => {
  await admin.query(`DROP OWNED BY ${hostileRole()}; DROP ROLE ${hostileRole()}`);
  await admin.end();
  await database[Symbol.asyncDispose]();
});

function hostileRole(): string {
  return `hostile_${database.name}`;
}

async function createHostileRole(client: Client, { url, name }: FreshDatabase): Promise<string> {
  const role = hostileRole();
  await client.query(`CREATE ROLE ${role} LOGIN REPLICATION PASSWORD 'hostile'`);
  await client.query(`GRANT pg_read_all_data TO ${role}`);
  for (const [setting, value] of Object.entries(HOSTILE_SETTINGS)) {
    await client.query(`ALTER ROLE ${role} SET ${setting} = ${value}`);
    await client.query(`ALTER DATABASE ${name} SET ${setting} = ${value}`);
  }
  const hostile = new URL(url);
  hostile.username = role;
  hostile.password = 'hostile';
  return hostile.href;
}

/** The stream of `slot` as the server sends it, up to and with the `commits`-th Commit; each message is a copy. */
async function streamMessages(slot: string, commits: number, extraOptions = ''): Promise<Uint8Array[]> {
  const client = new Client({
    connectionString: hostileUrl,
    replication: 'database',
    options: PINNED_SETTINGS_OPTIONS,
  } as ClientConfig);
  // pg's types leave out the connection, whose events carry CopyData (pg/lib/connection.js).
  const { connection } = client as unknown as { connection: NodeJS.EventEmitter };
  const messages: Uint8Array[] = [];
  const frame = new CopyDataFrame();
  let commitsLeft = commits;
  const allSeen = new Promise<void>((resolve, reject) => {
    connection.on('copyData', ({ chunk }: { chunk: Uint8Array }) => {
      try {
        readCopyData(chunk, viewOf(chunk), 0, chunk.length, frame);
        if (frame.kind !== FRAME.xlogData) return;
        messages.push(Uint8Array.from(chunk.subarray(frame.messageStart, frame.messageEnd)));
        if (chunk[frame.messageStart] === MESSAGE.commit && --commitsLeft === 0) resolve();
      } catch (error) {
        reject(error);
      }
    });
  });
  await client.connect();
  client.on('error', () => {});
  const options = `proto_version '1', publication_names 'samples'${extraOptions}`;
  const stream = client.query(`START_REPLICATION SLOT ${slot} LOGICAL 0/0 (${options})`);
  await Promise.race([allSeen, stream]);
  const ended = once(client, 'end');
  stream.catch(() => {});
  await client.end();
  await ended;
  return messages;
}

async function copyLines(copySql: string): Promise<Uint8Array[]> {
  const client = new Client({ connectionString: hostileUrl, options: PINNED_SETTINGS_OPTIONS });
  await client.connect();
  try {
    const text = await buffer(client.query(copyTo(copySql)));
    const lines: Uint8Array[] = [];
    for (let at = 0; at < text.length; ) {
      const newline = text.indexOf(0x0a, at);
      lines.push(Uint8Array.from(text.subarray(at, newline)));
      at = newline + 1;
    }
    return lines;
  } finally {
    await client.end();
  }
}

/** The cells of one tuple, by the types that the Relation message announced. */
function cellsOf(src: Uint8Array, slots: TupleSlots, relation: RelationMessage): Uint8Array[] {
  expect(slots.count).toBe(relation.columns.length);
  return relation.columns.map((column, i) => {
    const out = new ByteWriter();
    if (slots.kind[i] === SLOT.null) writeNullCell(out);
    else {
      expect(slots.kind[i], column.name).toBe(SLOT.text);
      encoderOf(column)(src, slots.start[i] as number, slots.end[i] as number, out);
    }
    return out.take();
  });
}

function encoderOf(column: { readonly name: string; readonly typeOid: number }) {
  const sample = TYPE_SAMPLES.find((each) => each.column === column.name);
  return cellEncoderFor(sample?.baseTypeOid ?? column.typeOid);
}

function expectedCells(row: number): Uint8Array[] {
  const out = new ByteWriter();
  writeCell(out, row);
  const cells = [out.take()];
  for (const family of TYPE_FAMILIES) {
    for (const sample of family.samples) {
      out.reset();
      writeCell(out, sample.values[row]?.cell ?? null, family.sqliteType === 'ANY' && sample.baseTypeOid === undefined);
      cells.push(out.take());
    }
  }
  return cells;
}

/** Compares column by column, so that a failure names the column. */
function expectRow(actual: readonly Uint8Array[], expected: readonly Uint8Array[], where: string): void {
  const names = ['id', ...TYPE_SAMPLES.map((sample) => sample.column)];
  expect(actual.length, where).toBe(expected.length);
  for (const [i, cell] of actual.entries())
    expect(printable(cell), `${where} ${names[i]}`).toBe(printable(expected[i] as Uint8Array));
}
function printable(cell: Uint8Array): string {
  return `${Buffer.from(cell).toString('latin1').slice(0, 300)} (${cell.length} bytes) ${Buffer.from(cell).toString('hex')}`;
}

function relationIn(messages: readonly Uint8Array[]): RelationMessage {
  const bytes = messages.find((message) => message[0] === MESSAGE.relation);
  const relation = bytes && readMessage(bytes, viewOf(bytes), 0, bytes.length);
  if (relation?.kind !== 'relation') throw new Error('no Relation message came');
  return relation;
}

describe('every type and its edge values, as a role whose settings all differ', () => {
  test('L10: snapshot and stream give the cells of docs/types.md, byte for byte, old rows included', async () => {
    const slot = `${database.name}_s`;
    await admin.query('SELECT pg_create_logical_replication_slot($1, $2)', [slot, 'pgoutput']);
    await admin.query(['BEGIN', ...insertTypeSamplesSql(TABLE), 'COMMIT'].join(';\n'));
    const lines = await copyLines(`COPY ${TABLE} TO STDOUT`);
    await admin.query(`BEGIN; UPDATE ${TABLE} SET id = id + 1000; DELETE FROM ${TABLE}; COMMIT`);

    const messages = await streamMessages(slot, 2);
    for (const bytes of messages.filter((each) => !isRowMessage(each[0] as number)))
      readMessage(bytes, viewOf(bytes), 0, bytes.length);
    const relation = relationIn(messages);
    expect(relation).toMatchObject({ schema: 'public', name: 'type_samples', replicaIdentity: 'f' });

    const rows = messages.filter((each) => isRowMessage(each[0] as number));
    expect(rows.length).toBe(3 * TYPE_SAMPLE_ROWS);
    const row = new RowMessage();
    let unchangedSeen = 0;
    for (const [i, bytes] of rows.entries()) {
      const expected = expectedCells(i % TYPE_SAMPLE_ROWS);
      readRowMessage(bytes, viewOf(bytes), 0, bytes.length, row);
      unchangedSeen += row.new.unchangedCount;
      expect(fillUnchangedToast(row)).toBe(true);
      const [, ...values] = expected;
      if (row.kind === MESSAGE.insert) expectRow(cellsOf(bytes, row.new, relation), expected, `insert ${i}`);
      if (row.kind === MESSAGE.update) {
        expectRow(cellsOf(bytes, row.old, relation), expected, `old row ${i}`);
        const [movedId, ...newValues] = cellsOf(bytes, row.new, relation);
        expectRow([movedId as Uint8Array, ...newValues], [movedId as Uint8Array, ...values], `new row ${i}`);
      }
      if (row.kind === MESSAGE.delete) {
        const [movedId, ...oldValues] = cellsOf(bytes, row.old, relation);
        expectRow([movedId as Uint8Array, ...oldValues], [movedId as Uint8Array, ...values], `deleted row ${i}`);
      }
    }
    expect(unchangedSeen, 'unchanged TOAST values met (L7)').toBeGreaterThan(0);

    expect(lines.length).toBe(TYPE_SAMPLE_ROWS);
    const out = new ByteWriter();
    for (const [i, line] of lines.entries()) {
      out.reset();
      insertFromCopyLine(line, viewOf(line), 0, line.length, relation.columns.length, relation.oid, out);
      expect(Buffer.compare(out.written(), rows[i] as Uint8Array), `COPY line ${i}`).toBe(0);
    }
  });

  test('without the pinned settings the same role prints other text, so the test above can fail', async () => {
    const client = new Client({ connectionString: hostileUrl });
    await client.connect();
    const { rows } = await client.query(
      `SELECT timestamptz '2024-03-10 02:30:00+00'::text AS moment, '\\x00ff'::bytea::text AS bytes, (0.1::float8 + 0.2)::text AS sum`,
    );
    await client.end();
    expect(rows).toEqual([{ moment: '10/03/2024 08:15:00 +0545', bytes: '\\000\\377', sum: '0.3' }]);
  });
});

describe('generated columns', () => {
  test('COPY of the table and the stream both leave a stored generated column out', async () => {
    await admin.query(
      'CREATE TABLE made (id int8 PRIMARY KEY, twice int8 GENERATED ALWAYS AS (id * 2) STORED, note text)',
    );
    await admin.query('ALTER TABLE made REPLICA IDENTITY FULL; ALTER PUBLICATION samples ADD TABLE made');
    const slot = `${database.name}_g`;
    await admin.query('SELECT pg_create_logical_replication_slot($1, $2)', [slot, 'pgoutput']);
    await admin.query("INSERT INTO made (id, note) VALUES (21, 'a')");
    const messages = await streamMessages(slot, 1);
    const relation = relationIn(messages);
    expect(relation.columns.map((column) => column.name)).toEqual(['id', 'note']);
    const [line] = await copyLines('COPY public.made TO STDOUT');
    const out = new ByteWriter();
    insertFromCopyLine(
      line as Uint8Array,
      viewOf(line as Uint8Array),
      0,
      (line as Uint8Array).length,
      2,
      relation.oid,
      out,
    );
    expect(out.take()).toEqual(messages.find((each) => isRowMessage(each[0] as number)));
  });
});
