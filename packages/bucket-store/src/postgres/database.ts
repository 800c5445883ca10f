import type { ProjectId } from '@sluice/domain';
import { AppError, InvariantError } from '@sluice/errors';
import { type ClientBase, Pool, type PoolClient, type QueryConfig, type QueryResult, type QueryResultRow } from 'pg';
import { STORE_ROLE } from '../sql/migrate.ts';
import { copyOut } from './copy-out.ts';

export interface PostgresBucketStoreOptions {
  readonly url: string;
  /** Connections at most. */
  readonly poolMax: number;
}

const connectTimeoutMs = 5_000;
/** A statement that waits longer for a lock or an answer is given up and counts as the store not answering. */
const lockTimeoutMs = 10_000;
const statementTimeoutMs = 60_000;
/**
 * A process that halts between two statements of a transaction, as a suspended machine does, keeps its locks, and whoever takes over
 * its lease waits for them. After so long the server takes them back: before a lease's usual life is over.
 */
const haltedMs = 4_000;

/** The adapter's connections. Every failure leaves as AppError or InvariantError (see `storeError`). */
export class Database {
  private readonly pool: Pool;

  constructor(options: PostgresBucketStoreOptions) {
    this.pool = new Pool({
      connectionString: options.url,
      max: options.poolMax,
      connectionTimeoutMillis: connectTimeoutMs,
      query_timeout: statementTimeoutMs + 5_000,
      keepAlive: true,
      application_name: 'sluice-bucket-store',
      // The pool waits for the promise (pg-pool index.js, newClient); its types only do not say so.
      onConnect: prepareSession as (client: ClientBase) => void,
    });
    // An idle connection that dies is replaced by the pool; who needs it next learns of it.
    this.pool.on('error', () => {});
  }

  /** One statement, which is its own transaction and names its project itself. */
  async query<Row extends QueryResultRow>(config: QueryConfig): Promise<QueryResult<Row>> {
    try {
      return await this.pool.query<Row>(config);
    } catch (error) {
      throw storeError(error);
    }
  }

  /** The messages of one `COPY ... TO STDOUT`, which is its own transaction and names its project itself. */
  async copy(text: string): Promise<readonly Buffer[]> {
    let client: PoolClient | undefined;
    let failure: Error | undefined;
    try {
      client = await this.pool.connect();
      client.on('error', ignore);
      return await copyOut(client, text);
    } catch (error) {
      failure = error instanceof Error ? error : new Error(String(error));
      throw storeError(error);
    } finally {
      client?.release(failure);
      client?.off('error', ignore);
    }
  }

  /** A transaction that sees one project. */
  async transaction<T>(project: ProjectId, work: (client: PoolClient) => Promise<T>): Promise<T> {
    let client: PoolClient | undefined;
    let failure: Error | undefined;
    try {
      client = await this.pool.connect();
      // The pool listens only while it has the connection, and an error that nobody hears ends the process.
      client.on('error', ignore);
      await client.query('begin');
      await client.query({ text: "select set_config('sluice.project', $1, true)", values: [String(project)] });
      const result = await work(client);
      await client.query('commit');
      return result;
    } catch (error) {
      failure = error instanceof Error ? error : new Error(String(error));
      await client?.query('rollback').then(
        () => {
          failure = undefined;
        },
        () => {},
      );
      throw storeError(error);
    } finally {
      // A connection that could not even roll back is not given to anybody else.
      client?.release(failure);
      client?.off('error', ignore);
    }
  }

  async close(): Promise<void> {
    await this.pool.end();
  }
}

/** The statement in flight, or the next one, fails with the same error and is the place where it is handled. */
function ignore(): void {}

/** Without this a superuser's login would walk past row-level security, so a session that fails here is not used. */
async function prepareSession(client: ClientBase): Promise<void> {
  await client.query(
    `set role ${STORE_ROLE}; set synchronous_commit = on; set jit = off; ` +
      `set lock_timeout = ${lockTimeoutMs}; set statement_timeout = ${statementTimeoutMs}; ` +
      `set idle_in_transaction_session_timeout = ${haltedMs}`,
  );
  const { rows } = await client.query<{ bypasses: boolean }>(
    'select rolsuper or rolbypassrls as bypasses from pg_roles where rolname = current_user',
  );
  if (rows[0]?.bypasses !== false) throw new InvariantError('the bucket store role may bypass row-level security');
}

/** SQLSTATE classes and codes after which the same call may succeed. */
const retryableState = /^(08|53|57|58|40001|40P01|55P03|25006|25P03|XX)/;
/** Raised by the store's own functions. */
const STATE_INVARIANT = 'SL002';
const STATE_STREAM_GONE = 'SL003';
const STATE_CHECKPOINT_GONE = 'SL004';

/** What a failed statement means to the caller. Messages of the server stay in `cause`, for our logs. */
export function storeError(error: unknown): Error {
  if (error instanceof AppError || error instanceof InvariantError) return error;
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (code === STATE_STREAM_GONE) return new AppError('STORE_STREAM_GONE', { cause: error });
  if (code === STATE_CHECKPOINT_GONE) return new AppError('STORE_CHECKPOINT_GONE', { cause: error });
  const isState = /^[0-9A-Z]{5}$/.test(code);
  if (isState && !retryableState.test(code)) {
    const noun = code === STATE_INVARIANT ? 'an invariant of the bucket store is broken' : `bucket store SQL (${code})`;
    const invariant = new InvariantError(noun);
    invariant.cause = error;
    return invariant;
  }
  // Sockets, name resolution, time-outs, a server that is starting or stopping.
  return new AppError('STORE_UNAVAILABLE', { internal: code === '' ? 'no answer' : code, cause: error });
}
