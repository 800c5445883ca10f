import type { BucketId } from '@sluice/domain';
import type { TableSchema } from '@sluice/protocol';
import { describe, expect, test } from 'vitest';
import { cell, LINKS, NOTES, randomLink, randomNote } from '../../testing/fixtures.ts';
import { encodeRow, type ModelCell, type ModelRow } from '../../testing/model-source.ts';
import { Random } from '../../testing/random.ts';
import { dump, feed, memoryDatabase, replicaOn, rowLine } from '../../testing/replica-fixture.ts';
import { bucketOf, HELD, newWritesSource, recordRow, refusalRow } from '../../testing/write-fixtures.ts';
import type { QueryParameter, WriteOperation } from '../../types.ts';
import type { Database } from '../sqlite/database.ts';
import type { Replica } from '../store/replica.ts';

const seed = Number(process.env.SLUICE_SEED ?? Math.floor(Math.random() * 2 ** 31));
const CLIENT = 'client-1';
const NONE: ReadonlySet<BucketId> = new Set();

/** One change of one row, as the model understands it. */
interface ModelMutation {
  readonly kind: 'insert' | 'update' | 'delete' | 'upsert';
  readonly table: TableSchema;
  readonly row: ModelRow;
  /** By place, what changes where the row is there. */
  readonly changed: ReadonlyMap<number, ModelCell>;
}
type Rows = Map<string, { readonly table: TableSchema; readonly row: ModelRow }>;

const idOf = (table: TableSchema, row: ModelRow): string =>
  `${table.name} ${Buffer.from(encodeRow(row.slice(0, table.keyColumns))).toString('hex')}`;
const isSame = (a: ModelCell | undefined, b: ModelCell | undefined): boolean =>
  a !== undefined && b !== undefined && Buffer.from(encodeRow([a])).equals(Buffer.from(encodeRow([b])));

/** What pending writes mean, written a second time and in another way: rows in a map, each write laid over the last. */
function layOver(rows: Rows, { kind, table, row, changed }: ModelMutation): void {
  const id = idOf(table, row);
  const before = rows.get(id);
  if (kind === 'delete') rows.delete(id);
  else if (before) rows.set(id, { table, row: before.row.map((was, i) => changed.get(i) ?? was) });
  else if (kind !== 'update') rows.set(id, { table, row });
}

/** A client, a server that takes what it writes, and the model of both. */
class History {
  readonly db: Database;
  readonly random: Random;
  replica: Replica;
  readonly source = newWritesSource();
  readonly pending: (readonly ModelMutation[])[] = [];
  /** Verdicts that no checkpoint has brought yet. */
  readonly underway: boolean[] = [];
  settled = 0;
  refused = 0;
  #server: Rows = new Map();
  #isFirst = true;

  constructor(db: Database, random: Random) {
    this.db = db;
    this.random = random;
    this.replica = replicaOn(db);
    feed(this.replica, [this.source.schemaMessage()]);
    this.checkpoint();
  }

  visible(): Rows {
    const rows: Rows = new Map(this.#server);
    for (const write of this.pending) for (const mutation of write) layOver(rows, mutation);
    return rows;
  }
  #set(table: TableSchema, row: ModelRow, isThere: boolean): void {
    this.source.set(table.name, row, isThere ? [bucketOf(table)] : []);
  }

  /** Others change rows at the source. */
  remote(): void {
    this.source.beginFrame();
    for (let i = this.random.int(6); i > 0; i--) {
      if (this.random.chance(0.8))
        this.#set(NOTES, randomNote(this.random, this.random.int(12)), this.random.chance(0.7));
      else this.#set(LINKS, randomLink(this.random), this.random.chance(0.6));
    }
  }

  /** The source takes some of what is pending, or refuses it; the client hears of it with a later checkpoint. */
  take(): void {
    const open = this.pending.length - this.underway.length;
    for (let i = this.random.int(open + 1); i > 0; i--) {
      const seq = this.settled + this.underway.length + 1;
      const write = this.pending[this.underway.length] ?? [];
      const isApplied = this.random.chance(0.7);
      this.source.beginFrame();
      if (isApplied) this.#apply(write);
      else this.source.set('sluice_refusal', refusalRow(CLIENT, seq), [bucketOf({ name: 'sluice_refusal' })]);
      this.source.set('sluice_client', recordRow(CLIENT, seq), [bucketOf({ name: 'sluice_client' })]);
      this.underway.push(isApplied);
    }
  }
  #apply(write: readonly ModelMutation[]): void {
    const rows: Rows = new Map();
    for (const table of [NOTES, LINKS])
      for (const row of this.source.expectedRows(table.name, HELD)) rows.set(idOf(table, row), { table, row });
    for (const mutation of write) {
      layOver(rows, mutation);
      const after = rows.get(idOf(mutation.table, mutation.row));
      this.#set(mutation.table, after?.row ?? mutation.row, after !== undefined);
    }
  }

  checkpoint(): void {
    const reset = this.#isFirst || this.random.chance(0.1);
    const held = this.#isFirst ? NONE : HELD;
    this.#isFirst = false;
    const replaced = new Set(this.random.subset([...HELD], 0.2));
    feed(this.replica, this.source.checkpointMessages({ held, wanted: HELD, replaced, reset, opsPerChunk: 3 }));
    this.#server = new Map();
    for (const table of [NOTES, LINKS])
      for (const row of this.source.expectedRows(table.name, HELD)) this.#server.set(idOf(table, row), { table, row });
    this.pending.splice(0, this.underway.length);
    this.settled += this.underway.length;
    this.refused += this.underway.filter((isApplied) => !isApplied).length;
    this.underway.length = 0;
  }

  /** The process ends and another one opens the database. */
  reopen(): void {
    this.replica.close();
    this.replica = replicaOn(this.db, { newClientId: 'of another database' });
    feed(this.replica, [this.source.schemaMessage()]);
  }

  local(): void {
    const rows = this.visible();
    const operations: WriteOperation[] = [];
    const mutations: ModelMutation[] = [];
    let isValid = true;
    for (let i = this.random.int(4) + 1; i > 0; i--) {
      const { operation, made } = this.#operation(rows);
      operations.push(operation);
      if (made === 'refused') isValid = false;
      else mutations.push(...made);
      if (!isValid) break;
      for (const mutation of made as ModelMutation[]) layOver(rows, mutation);
    }
    if (this.random.chance(0.1)) {
      operations.push(
        { sql: 'UPDATE notes SET title = 7.5', parameters: [] },
        { sql: 'INSERT INTO notes (id) VALUES (?)', parameters: ['no integer'] },
      );
      isValid = false;
    }
    if (!isValid) {
      expect(() => this.replica.write(operations)).toThrow(expect.objectContaining({ code: 'CLIENT_WRITE_INVALID' }));
      return;
    }
    this.replica.write(operations);
    if (mutations.length > 0) this.pending.push(mutations);
  }

  #operation(rows: Rows): { operation: WriteOperation; made: ModelMutation[] | 'refused' } {
    const { random } = this;
    if (random.chance(0.2)) return this.#link(rows);
    const kind = random.pick(['insert', 'update', 'update', 'upsert', 'delete', 'sql'] as const);
    const drawn = randomNote(random, random.int(12));
    const there = rows.get(idOf(NOTES, drawn))?.row;
    // Some of what is written is what is there.
    const note = drawn.map((to, i) => asBound((random.chance(0.4) ? there?.[i] : undefined) ?? to));
    const changes = new Map(
      note.flatMap((to, i) => (i > 0 && there && !isSame(there[i], to) ? [[i, to] as const] : [])),
    );
    const values = Object.fromEntries(NOTES.columns.map(({ name }, i) => [name, parameterOf(note[i])]));
    const mutation = { table: NOTES, row: note };
    switch (kind) {
      case 'insert':
        return {
          operation: { insert: 'notes', values },
          made: there ? 'refused' : [{ ...mutation, kind, changed: asInserted(note) }],
        };
      case 'upsert':
        return {
          operation: { upsert: 'notes', values },
          made: there
            ? changes.size > 0
              ? [{ ...mutation, kind, changed: changes }]
              : []
            : [{ ...mutation, kind, changed: asInserted(note) }],
        };
      case 'update':
        return {
          operation: { update: 'notes', values },
          made: changes.size > 0 ? [{ ...mutation, kind, changed: changes }] : [],
        };
      case 'delete':
        return {
          operation: { delete: 'notes', key: { id: Number(note[0]?.value) } },
          made: there ? [{ ...mutation, kind, changed: new Map() }] : [],
        };
      case 'sql':
        return this.#sql(rows);
    }
  }
  #link(rows: Rows): { operation: WriteOperation; made: ModelMutation[] | 'refused' } {
    const row = randomLink(this.random);
    const key = Object.fromEntries(LINKS.columns.map(({ name }, i) => [name, parameterOf(row[i])]));
    const there = rows.has(idOf(LINKS, row));
    const mutation = { table: LINKS, row, changed: new Map() };
    if (this.random.chance(0.5))
      return {
        operation: { insert: LINKS.name, values: key },
        made: there ? 'refused' : [{ ...mutation, kind: 'insert' }],
      };
    return { operation: { delete: LINKS.name, key }, made: there ? [{ ...mutation, kind: 'delete' }] : [] };
  }
  /** Statements of many rows. */
  #sql(rows: Rows): { operation: WriteOperation; made: ModelMutation[] } {
    const notes = [...rows.values()].filter(({ table }) => table === NOTES).map(({ row }) => row);
    const below = this.random.int(14);
    const met = notes
      .filter((row) => BigInt(row[0]?.value as bigint) < BigInt(below))
      .sort((a, b) => Number(a[0]?.value) - Number(b[0]?.value));
    if (this.random.chance(0.3))
      return {
        operation: { sql: 'DELETE FROM notes WHERE id < ?', parameters: [below] },
        made: met.map((row) => ({ kind: 'delete', table: NOTES, row, changed: new Map() })),
      };
    const title = this.random.pick(['one', 'two']);
    return {
      operation: { sql: 'UPDATE notes SET title = ? WHERE id < ? RETURNING id', parameters: [title, below] },
      made: met
        .filter((row) => row[1]?.value !== title)
        .map((row) => ({ kind: 'update', table: NOTES, row, changed: new Map([[1, cell(title)]]) })),
    };
  }

  expectAsModel(what: string): void {
    const rows = [...this.visible().values()];
    const lines = (table: TableSchema): string[] =>
      rows
        .filter((held) => held.table === table)
        .map(({ row }) => rowLine(this.db, row))
        .sort();
    const shown = dump(this.db, this.source);
    expect(shown[NOTES.name], what).toEqual(lines(NOTES));
    expect(shown[LINKS.name], what).toEqual(lines(LINKS));
    expect(this.replica.pendingCount, what).toBe(this.pending.length);
    expect(this.replica.settledSeq, what).toBe(this.settled);
    expect(this.replica.rejectedCount, what).toBe(this.refused);
    expect(this.replica.verify(), what).toMatchObject({ ok: true, problems: [] });
  }
}

/** Columns that are NULL are left to the server, so they change nothing where the row is there by then. */
const asInserted = (row: ModelRow): Map<number, ModelCell> =>
  new Map(row.flatMap((to, i) => (i > 0 && to.value !== null ? [[i, to] as const] : [])));

/** A whole number that is a float cannot be said by a parameter: it is bound as an integer. */
function asBound(of: ModelCell): ModelCell {
  const { value } = of;
  return typeof value === 'number' && Number.isSafeInteger(value) && !Object.is(value, -0) ? cell(BigInt(value)) : of;
}
function parameterOf(of: ModelCell | undefined): QueryParameter {
  return of?.value ?? null;
}

describe(`pending writes (SLUICE_SEED=${seed})`, () => {
  test('L14: what is shown is always the checkpoint with what is pending laid over it, whatever happens in which order', async () => {
    for (let history = 0; history < 20; history++) {
      const random = new Random(seed + history);
      const of = new History(await memoryDatabase(), random);
      const steps = ['local', 'local', 'local', 'remote', 'take', 'checkpoint', 'checkpoint', 'reopen'] as const;
      for (let step = 0; step < 40; step++) {
        const what = random.pick(steps);
        of[what]();
        of.expectAsModel(`history ${history}, step ${step}: ${what}`);
      }
      of.db.close();
    }
  }, 120_000);
});
