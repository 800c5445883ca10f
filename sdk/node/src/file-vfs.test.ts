import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Database } from '@sluice/client/core';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { loadSqlite } from './load-sqlite.ts';
import { fileStorage } from './storage.ts';

const ROWS = 300;
let folder: string;
beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sluice-vfs-'));
});
afterEach(() => fs.rmSync(folder, { recursive: true, force: true }));

function read(db: Database, sql: string): string {
  let text = '';
  db.forEachRow(sql, [], (row) => {
    text = row.text(0);
  });
  return text;
}
function setVersion(db: Database, version: number): void {
  db.run('BEGIN IMMEDIATE');
  db.run('UPDATE t SET version = ?', [version]);
  db.run('COMMIT');
}

describe('file VFS', () => {
  test('the pragmas take effect, and a second open finds what the first committed', async () => {
    const module = await loadSqlite();
    const storage = fileStorage(module, path.join(folder, 'a.db'));
    const db = storage.open();
    expect(read(db, 'PRAGMA journal_mode')).toBe('wal');
    expect(read(db, 'PRAGMA locking_mode')).toBe('exclusive');
    expect(read(db, 'PRAGMA synchronous')).toBe('1');
    expect(read(db, 'PRAGMA page_size')).toBe('8192');
    db.script('CREATE TABLE t (a) STRICT; '.replace('(a)', '(a TEXT)'));
    db.run('INSERT INTO t VALUES (?)', ['kept']);
    db.close();
    const again = storage.open();
    expect(read(again, 'SELECT a FROM t')).toBe('kept');
    expect(read(again, 'PRAGMA integrity_check')).toBe('ok');
    again.close();
    storage.release();
  });

  test('L12: ended before any one change of a file, the database holds the old or the new transaction, whole', async () => {
    const module = await loadSqlite();
    let kills = 0;
    for (let killAt = 1; ; killAt++) {
      const file = path.join(folder, `${killAt}.db`);
      let changes = 0;
      let armed = false;
      let committed = 0;
      // From the chosen change on nothing reaches the disk any more, as if the process had ended there.
      const storage = fileStorage(module, file, () => {
        if (armed && ++changes >= killAt) throw new Error('ended');
      });
      const db = storage.open();
      db.script(
        'PRAGMA wal_autocheckpoint = 8; CREATE TABLE t (id INTEGER PRIMARY KEY, version INTEGER, filler TEXT) STRICT',
      );
      db.run(
        `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${ROWS}) INSERT INTO t SELECT i, 0, hex(randomblob(100)) FROM n`,
      );
      armed = true;
      try {
        for (let version = 1; version <= 3; version++) {
          setVersion(db, version);
          committed = version;
        }
      } catch {
        kills++;
      }
      const reachedEnd = changes < killAt;
      db.close();
      storage.release();
      const again = fileStorage(module, file);
      const reopened = again.open();
      const found = read(reopened, "SELECT count(*) || ' ' || min(version) || ' ' || max(version) FROM t");
      const version = Number(found.split(' ')[1]);
      expect(found).toBe(`${ROWS} ${version} ${version}`);
      expect([committed, committed + 1]).toContain(version);
      expect(read(reopened, 'PRAGMA integrity_check')).toBe('ok');
      reopened.close();
      again.release();
      if (reachedEnd) break;
    }
    expect(kills).toBeGreaterThan(10);
  }, 60_000);

  test('a second owner is refused with a code; a lock whose process is gone is taken over', async () => {
    const module = await loadSqlite();
    const file = path.join(folder, 'a.db');
    const storage = fileStorage(module, file);
    expect(() => fileStorage(module, file)).toThrow(/CLIENT_STORAGE_BUSY/);
    storage.release();
    fs.writeFileSync(`${file}-lock`, String(process.ppid));
    expect(() => fileStorage(module, file)).toThrow(/CLIENT_STORAGE_BUSY/);
    fs.writeFileSync(`${file}-lock`, '999999999');
    const taken = fileStorage(module, file);
    taken.release();
    expect(fs.existsSync(`${file}-lock`)).toBe(false);
  });
});
