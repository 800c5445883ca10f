import { createTypeSamplesSql, TYPE_SAMPLES } from '@sluice/pg-values/type-samples';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Cell, mutation, TestClient, type WriterStack, writerStack } from './testing/writer-stack.ts';

/** `given` is written by the samples' SQL, the others by uploads of the cells that clients hold. */
let stack: WriterStack;
let ann: TestClient;
let nextId = 1;

/** Beyond what one upload may have, or what only a database can print. */
const TOO_LARGE = 150_000;

beforeAll(async () => {
  const [given, merged, strict] = ['given', 'merged', 'strict'].map(createTypeSamplesSql);
  const onlyTables = [...(merged ?? []), ...(strict ?? [])].filter((statement) => / (merged|strict) /.test(statement));
  stack = await writerStack({
    tablesSql: `${[...(given ?? []), ...onlyTables].join(';\n')}; GRANT SELECT, INSERT, UPDATE, DELETE ON merged, strict TO {app};`,
    policies: { merged: 'merge', strict: 'reject-if-stale' },
    readOnly: ['given'],
  });
  ann = new TestClient(stack.writer, 'ann');
});
afterAll(() => stack?.[Symbol.asyncDispose]());

const cases = TYPE_SAMPLES.flatMap(({ column, pgType, values }) =>
  values.map(({ sql, cell }) => ({ column, pgType, sql, cell: asCell(column, cell) })),
).filter(({ cell }) => !(typeof cell === 'string' && Buffer.byteLength(cell) > TOO_LARGE / 2));

/** A float column's numbers are floats on the wire, also when they are whole. */
function asCell(column: string, cell: Cell): Cell {
  return /^a_float[48]$/.test(column) && typeof cell === 'number' ? { float: cell } : cell;
}

describe('every Postgres type comes back as what it was', () => {
  it.each(cases)('$pgType: $sql', async ({ column, sql, cell }) => {
    const id = nextId++;
    await stack.sql(`INSERT INTO given (id, ${column}) VALUES (${id}, ${sql})`);
    const insert = (table: string) => mutation('insert', table, { key: [id], set: { [column]: cell } });
    const clear = mutation('update', 'strict', { key: [id], set: { [column]: null }, was: { [column]: cell } });
    const setAgain = mutation('update', 'strict', { key: [id], set: { [column]: cell }, was: { [column]: null } });
    expect(await ann.upload(insert('merged'), insert('strict'), clear, setAgain)).toMatchObject({ result: 'recorded' });
    expect(await stack.sql('SELECT code, reason FROM sluice.refusal')).toEqual([]);
    const text = (table: string) => stack.sql(`SELECT ${column}::text AS text FROM ${table} WHERE id = ${id}`);
    const expected = await text('given');
    expect(await text('merged')).toEqual(expected);
    expect(await text('strict')).toEqual(expected);
  });
});
