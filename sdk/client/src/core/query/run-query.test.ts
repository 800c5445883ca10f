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
