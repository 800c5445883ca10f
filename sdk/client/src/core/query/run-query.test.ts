import { expect, test } from 'vitest';
import { memoryDatabase } from '../../testing/replica-fixture.ts';
import { rowsFromFrame } from './frame.ts';
import { QueryRunner } from './run-query.ts';

test('L12: a query that was run before a table got other columns shows the new ones under their names', async () => {
  const db = await memoryDatabase();
  const runner = new QueryRunner(db);
  const run = () => rowsFromFrame(runner.run('SELECT * FROM t', []));
  db.script('CREATE TABLE t (id INTEGER PRIMARY KEY, size INTEGER, label TEXT, _sluice_hash INTEGER)');
  db.script("INSERT INTO t VALUES (1, 2, 'three', 4)");
  expect(run()).toEqual([{ id: 1, size: 2, label: 'three' }]);
  db.script('DROP TABLE t; CREATE TABLE t (id INTEGER PRIMARY KEY, label TEXT, _sluice_hash INTEGER)');
  db.script("INSERT INTO t VALUES (1, 'three', 4)");
  expect(run()).toEqual([{ id: 1, label: 'three' }]);
  db.script('DROP TABLE t; CREATE TABLE t (id INTEGER PRIMARY KEY, title TEXT, _sluice_hash INTEGER)');
  db.script("INSERT INTO t VALUES (1, 'three', 4)");
  expect(run()).toEqual([{ id: 1, title: 'three' }]);
  runner.close();
  db.close();
});

test('a second column of one name keeps its value under a name of its own', async () => {
  const db = await memoryDatabase();
  const runner = new QueryRunner(db);
  const run = (sql: string) => rowsFromFrame(runner.run(sql, [])).map(Object.entries);
  expect(run('SELECT 1 AS a, 2 AS b, 3 AS a, 4 AS a')).toEqual([
    [
      ['a', 1],
      ['b', 2],
      ['a:1', 3],
      ['a:2', 4],
    ],
  ]);
  expect(run('SELECT 1 AS a, 2 AS a, 3 AS "a:1"')).toEqual([
    [
      ['a', 1],
      ['a:2', 2],
      ['a:1', 3],
    ],
  ]);
  runner.close();
  db.close();
});
