import { Client } from 'pg';
import { storeError } from './database.ts';

/** Any number that nobody else locks: one process at a time builds indexes anew. */
const GIVE_BACK_LOCK = 7_248_310_266;
/** Smaller indexes are not worth the trouble. Bytes. */
const INDEX_BYTES_MIN = 1 << 20;
/** What an entry takes of the widest index here, in pages that are as full as inserts in random order leave them. */
const ENTRY_BYTES = 100;
/** An index is built anew when it is this many times as large as its entries need: then that costs little. */
const EXCESS = 3;
/** Transactions that began earlier are waited for, this long each; whoever asks to lock the table waits as well. */
const LOCK_TIMEOUT_MS = 10_000;
const STATEMENT_TIMEOUT_MS = 10 * 60_000;

/**
 * Builds indexes anew that deletes have left mostly empty: the server uses their pages again, but keeps the disk's space for
 * itself. Reads and writes go on meanwhile. Counts entries as the last VACUUM did.
 *
 * The tables' owner alone may do it, so it is done by the login itself, and not at all when that is another.
 * @param signal lets the caller go at once
 * @returns bytes given back
 * @throws AppError STORE_UNAVAILABLE also when others held it up for too long; then the next call clears away what was begun
 */
export async function giveBackSpace(url: string, signal: AbortSignal): Promise<number> {
  const client = new Client({
    connectionString: url,
    application_name: 'sluice-bucket-store',
    connectionTimeoutMillis: 5_000,
    lock_timeout: LOCK_TIMEOUT_MS,
    statement_timeout: STATEMENT_TIMEOUT_MS,
  });
  client.on('error', () => {});
  // In the middle of a statement this cuts the connection; the server goes on with the statement, to its end.
  const abort = (): void => void client.end().catch(() => {});
  try {
    await client.connect();
    if (signal.aborted) return 0;
    signal.addEventListener('abort', abort);
    const { rows } = await client.query<{ is_alone: boolean }>('select pg_try_advisory_lock($1) as is_alone', [
      GIVE_BACK_LOCK,
    ]);
    if (!rows[0]?.is_alone) return 0;
    await dropUnfinished(client);
    let bytes = 0;
    for (const index of await wastefulIndexes(client)) bytes += await rebuild(client, index);
    return bytes;
  } catch (error) {
    if (signal.aborted) return 0;
    throw storeError(error);
  } finally {
    signal.removeEventListener('abort', abort);
    // Closing the session also gives the lock back.
    await client.end().catch(() => {});
  }
}

const OWN_INDEXES = `
  from pg_index as i
  join pg_class as x on x.oid = i.indexrelid
  join pg_class as t on t.oid = i.indrelid
  where t.relnamespace = 'sluice_store'::regnamespace and pg_has_role(t.relowner, 'usage')`;

/** What a REINDEX that was cut off has left: an index that is written to and never read. */
async function dropUnfinished(client: Client): Promise<void> {
  const { rows } = await client.query<{ name: string }>(
    `select i.indexrelid::regclass::text as name ${OWN_INDEXES} and not i.indisvalid and x.relname ~ '_cc(new|old)[0-9]*$'`,
  );
  for (const { name } of rows) await client.query(`drop index concurrently ${name}`);
}

/** Names are quoted where they need it. */
async function wastefulIndexes(client: Client): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    `select i.indexrelid::regclass::text as name ${OWN_INDEXES} and i.indisvalid and x.reltuples >= 0
      and pg_relation_size(x.oid) > greatest($1::float8, x.reltuples::float8 * $2)
    order by pg_relation_size(x.oid)`,
    [INDEX_BYTES_MIN, ENTRY_BYTES * EXCESS],
  );
  return rows.map(({ name }) => name);
}

async function rebuild(client: Client, name: string): Promise<number> {
  const before = await sizeOf(client, name);
  await client.query(`reindex index concurrently ${name}`);
  return before - (await sizeOf(client, name));
}

async function sizeOf(client: Client, name: string): Promise<number> {
  const { rows } = await client.query<{ bytes: string }>('select pg_relation_size($1::regclass) as bytes', [name]);
  return Number(rows[0]?.bytes ?? 0);
}
