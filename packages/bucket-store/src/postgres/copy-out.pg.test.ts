import { type FreshDatabase, freshDatabase } from '@sluice/testkit';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CopiedRows, copyOut, hexesSql, hexSql, intSql, intsSql } from './copy-out.ts';

const everyByte = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)).toString('hex');

describe('copies as bytes', () => {
  let client: Client;
  let database: FreshDatabase;
  beforeAll(async () => {
    database = await freshDatabase('copy_out');
    client = new Client({ connectionString: database.url });
    await client.connect();
  });
  afterAll(async () => {
    await client.end();
    await database[Symbol.asyncDispose]();
  });

  const rowsOf = async (select: string, columns: number): Promise<CopiedRows> =>
    new CopiedRows(await copyOut(client, `copy (${select}) to stdout (format binary)`), columns);

  test('every byte and every number comes as it was given', async () => {
    const values = `${hexSql(everyByte)}, ${intSql(-5)}::int2, ${intSql(2 ** 31 - 1)}, ${intSql(-(2n ** 63n))}::int8`;
    const rows = await rowsOf(`select ${values}`, 4);
    expect(rows.next()).toBe(true);
    expect(rows.blob().toString('hex')).toBe(everyByte);
    expect([rows.int2(), rows.int4(), rows.int8()]).toEqual([-5, 2 ** 31 - 1, -(2n ** 63n)]);
    expect(rows.next()).toBe(false);
  });

  test('arrays arrive in order, empty ones too, whether or not backslashes escape', async () => {
    for (const conforming of ['on', 'off']) {
      await client.query(`set standard_conforming_strings = ${conforming}`);
      const arrays = `${intsSql([3, -1])}, ${hexesSql([everyByte, ''])}`;
      const rows = await rowsOf(`select u.n, u.bytes from unnest(${arrays}) as u (n, bytes)`, 2);
      const seen: unknown[] = [];
      while (rows.next()) seen.push([rows.int4(), rows.blob().toString('hex')]);
      expect(seen).toEqual([
        [3, everyByte],
        [-1, ''],
      ]);
    }
    expect((await rowsOf(`select u from unnest(${intsSql([])}) as u`, 1)).next()).toBe(false);
    expect((await rowsOf(`select u from unnest(${hexesSql([])}) as u`, 1)).next()).toBe(false);
  });

  test('rows that come in many pieces are whole, and what came before them stays as it was', async () => {
    const rows = await rowsOf(
      `select n, decode(repeat(to_hex(n + 16), 300000), 'hex') from generate_series(0, 9) n`,
      2,
    );
    const blobs: Buffer[] = [];
    for (let n = 0; rows.next(); n++) {
      expect(rows.int4()).toBe(n);
      blobs.push(rows.blob());
    }
    expect(blobs.map((blob, n) => blob.equals(Buffer.alloc(300_000, n + 16)))).toEqual(Array(10).fill(true));
  });

  test('what fails in the middle of a copy is thrown, and the connection goes on', async () => {
    await expect(rowsOf('select 1 / (3 - n) from generate_series(1, 5) n', 1)).rejects.toMatchObject({ code: '22012' });
    expect((await rowsOf('select 7', 1)).next()).toBe(true);
  });

  test('nothing but digits gets into the text', () => {
    expect(() => intSql(Number('1.5'))).toThrow(RangeError);
    expect(() => intsSql([Number.NaN])).toThrow(RangeError);
    expect(hexSql(`ab'; drop table x; --`)).toBe(`decode('ab', 'hex')`);
    expect(hexesSql([`cd"}'; --`])).toBe(`E'{"\\\\\\\\xcd"}'::bytea[]`);
  });

  test('every truncation is refused, and so are nulls, other widths and other numbers of columns', async () => {
    const bytes = Buffer.concat(await copyOut(client, `copy (select 1, 'abc'::bytea) to stdout (format binary)`));
    const readAll = (of: Buffer | readonly Buffer[], columns = 2): void => {
      const rows = new CopiedRows('buffer' in of ? [of] : of, columns);
      while (rows.next()) {
        rows.int4();
        rows.blob();
      }
    };
    readAll(bytes);
    for (let length = 0; length < bytes.length; length++)
      expect(() => readAll(bytes.subarray(0, length))).toThrow('malformed');
    expect(() => readAll(bytes, 3)).toThrow('malformed');
    const nulls = await copyOut(client, 'copy (select null::int4, null::bytea) to stdout (format binary)');
    expect(() => readAll(nulls)).toThrow('malformed');
    const wide = await copyOut(client, `copy (select 1::int8, 'abc'::bytea) to stdout (format binary)`);
    expect(() => readAll(wide)).toThrow('malformed');
  });
});
