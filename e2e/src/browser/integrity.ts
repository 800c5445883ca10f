import initialize from '@sqlite.org/sqlite-wasm';

/** Bytes 18 and 19 of a SQLite file: 2 stands for WAL, which a database in memory cannot have. */
const JOURNAL_BYTES = [18, 19];
const ROLLBACK = 1;

/** What `PRAGMA integrity_check` says of a database file: `['ok']` when it is sound. */
export async function integrityOf(file: Uint8Array): Promise<string[]> {
  const { capi, oo1, wasm } = await initialize();
  const bytes = Uint8Array.from(file);
  for (const at of JOURNAL_BYTES) bytes[at] = ROLLBACK;
  const db = new oo1.DB();
  try {
    const size = bytes.length;
    const flags = capi.SQLITE_DESERIALIZE_FREEONCLOSE;
    db.checkRc(capi.sqlite3_deserialize(db, 'main', wasm.allocFromTypedArray(bytes), size, size, flags));
    return db.selectValues('PRAGMA integrity_check').map(String);
  } finally {
    db.close();
  }
}
