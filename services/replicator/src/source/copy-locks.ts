import { type Clock, delay } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import { SQLSTATE, sqlstateOf } from '@sluice/source-connection';
import type { SourceSession } from './connection.ts';
import type { SnapshotTable } from './snapshot.ts';

/**
 * The tables that a session of a snapshot has locked for itself. Without a lock of its own, a COPY waits behind whoever waits
 * for the session that holds the tables, and that one does not let go before all is copied: a deadlock that the server cannot
 * see. pg_dump's workers avoid it in the same way (`lockTableForWorker` in pg_dump/parallel.c).
 */
export class CopyLocks {
  private readonly session: SourceSession;
  private readonly locked = new Set<SnapshotTable>();

  constructor(session: SourceSession) {
    this.session = session;
  }

  /** Locks the table if that takes no waiting; false while another session waits to lock it for itself. @throws AppError */
  async tryLock(table: SnapshotTable): Promise<boolean> {
    if (this.locked.has(table)) return true;
    const { session } = this;
    try {
      // Savepoints that nobody releases would lie within each other, one for every table. The lock outlives its own.
      await session.query(
        `SAVEPOINT copy_lock; LOCK TABLE ${table.from} IN ACCESS SHARE MODE NOWAIT; RELEASE SAVEPOINT copy_lock`,
      );
    } catch (error) {
      if (sqlstateOf(error) !== SQLSTATE.lockNotAvailable) throw error;
      // The snapshot outlives the savepoint.
      await session.query('ROLLBACK TO SAVEPOINT copy_lock');
      return false;
    }
    this.locked.add(table);
    return true;
  }
}

/** Somebody who has waited long enough for a table that one of the sessions holds. */
const BLOCKED_SQL = `
SELECT n.nspname AS schema, c.relname AS name
FROM pg_catalog.pg_locks l
JOIN pg_catalog.pg_class c ON c.oid = l.relation
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE NOT l.granted AND l.locktype = 'relation' AND l.pid <> ALL ($1::int[])
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
  AND l.waitstart < pg_catalog.clock_timestamp() - $2 * interval '1 millisecond'
  AND pg_catalog.pg_blocking_pids(l.pid) && $1::int[]
LIMIT 1`;
const LOOK_EVERY_MS = 1_000;

export interface GiveWayOptions {
  readonly clock: Clock;
  /** Those that hold tables. */
  readonly pids: readonly number[];
  readonly afterMs: number;
}

/**
 * Looks whether sessions of the source wait for tables that the copy holds: every later statement on such a table waits behind
 * them, reads as well. Resolves when aborted. @throws AppError SOURCE_LOCKED when one has waited for longer than `afterMs`
 */
export async function giveWay(
  session: SourceSession,
  { clock, pids, afterMs }: GiveWayOptions,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await delay(clock, Math.min(LOOK_EVERY_MS, afterMs), signal);
    if (signal.aborted) return;
    const [table] = await session.query(BLOCKED_SQL, [pids, afterMs]);
    if (table) throw new AppError('SOURCE_LOCKED', { internal: 'the copy gives way', details: { ...table } });
  }
}
