import type { ProjectId } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import { clientConfig, connectError, type SourceConnection } from '@sluice/source-connection';
import { type ClientBase, Pool } from 'pg';
import { SourceSession } from './writer-session.ts';

export interface PoolLimits {
  /** Connections to one project's source. */
  readonly connectionsMax: number;
  /** Uploads of one project that wait for a connection; more are told to come back. */
  readonly waitingMax: number;
  readonly idleMs: number;
  readonly statementTimeoutMs: number;
  readonly lockTimeoutMs: number;
  /** A statement that is not answered by then is given up with its connection: the way there may be gone without a word. */
  readonly answerTimeoutMs: number;
}
export const defaultPoolLimits: PoolLimits = {
  connectionsMax: 4,
  waitingMax: 200,
  idleMs: 30_000,
  statementTimeoutMs: 15_000,
  lockTimeoutMs: 5000,
  answerTimeoutMs: 20_000,
};

/**
 * A writer that halts between two statements of a transaction, as a suspended machine does, holds the client's record. After so
 * long the server takes it back, sooner than whoever waits for it gives up. Milliseconds.
 */
const HALTED_MS = 3_000;
/** So that a role that was given more since is found out, and a server that moved is left. Seconds. */
const CONNECTION_LIFE_S = 300;

/** Connections to the sources, by project: few, shared by its clients, closed when nobody writes (L16). */
export class SourcePools {
  readonly #sourceOf: (project: ProjectId) => Promise<SourceConnection>;
  readonly #limits: PoolLimits;
  readonly #poolByProject = new Map<ProjectId, Promise<Pool>>();
  readonly #sessionOf = new WeakMap<ClientBase, SourceSession>();
  #closing: Promise<unknown>[] = [];
  #isClosed = false;

  constructor(sourceOf: (project: ProjectId) => Promise<SourceConnection>, limits: PoolLimits) {
    this.#sourceOf = sourceOf;
    this.#limits = limits;
  }

  /**
   * Lends a connection. After an error it is closed, whatever state it is in.
   * @throws AppError when there is none to be had, or what `work` throws
   */
  async use<T>(project: ProjectId, work: (session: SourceSession) => Promise<T>): Promise<T> {
    const pool = await this.#poolOf(project);
    if (pool.waitingCount >= this.#limits.waitingMax) throw new AppError('WRITES_BUSY', { internal: 'too many wait' });
    const client = await pool.connect().catch((error: unknown) => {
      throw connectError(error);
    });
    // Between statements nobody else listens; the next statement says what happened.
    const onError = (): void => {};
    client.on('error', onError);
    const session = this.#sessionOf.get(client) ?? new SourceSession(client);
    this.#sessionOf.set(client, session);
    let isFit = false;
    try {
      const result = await work(session);
      isFit = true;
      return result;
    } finally {
      client.off('error', onError);
      client.release(!isFit);
    }
  }

  /** The connection may have changed: those that are open are closed when they are given back. */
  forget(project: ProjectId): void {
    const pool = this.#poolByProject.get(project);
    this.#poolByProject.delete(project);
    if (pool) this.#end(pool);
  }
  forgetAll(): void {
    for (const project of [...this.#poolByProject.keys()]) this.forget(project);
  }

  /** Resolves when no connection is left. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.forgetAll();
    await Promise.all(this.#closing);
  }

  #end(pool: Promise<Pool>): void {
    const ended = pool.then((open) => open.end()).catch(() => {});
    this.#closing.push(ended);
    void ended.then(() => {
      this.#closing = this.#closing.filter((other) => other !== ended);
    });
  }

  #poolOf(project: ProjectId): Promise<Pool> {
    if (this.#isClosed) throw new AppError('WRITES_BUSY', { internal: 'the writer is closing' });
    const known = this.#poolByProject.get(project);
    if (known) return known;
    const opening = this.#open(project);
    this.#poolByProject.set(project, opening);
    opening.catch(() => {
      if (this.#poolByProject.get(project) === opening) this.#poolByProject.delete(project);
    });
    return opening;
  }

  async #open(project: ProjectId): Promise<Pool> {
    const { connectionsMax, idleMs, answerTimeoutMs } = this.#limits;
    const pool = new Pool({
      ...clientConfig(await this.#sourceOf(project), this.#settings()),
      max: connectionsMax,
      pipeline: true,
      idleTimeoutMillis: idleMs,
      query_timeout: answerTimeoutMs,
      maxLifetimeSeconds: CONNECTION_LIFE_S,
    });
    // An idle connection that breaks is taken out of the pool; nothing else is lost.
    pool.on('error', () => {});
    return pool;
  }

  /**
   * Only what decides how we are understood, and how long a statement may take. Everything else is as the tenant set it, since
   * their triggers run here as they do for their own servers.
   */
  #settings(): Readonly<Record<string, string>> {
    const { statementTimeoutMs, lockTimeoutMs } = this.#limits;
    return {
      client_encoding: 'UTF8',
      datestyle: 'ISO',
      intervalstyle: 'postgres',
      xmloption: 'content',
      row_security: 'on',
      default_transaction_read_only: 'off',
      standard_conforming_strings: 'on',
      statement_timeout: String(statementTimeoutMs),
      lock_timeout: String(lockTimeoutMs),
      idle_in_transaction_session_timeout: String(HALTED_MS),
    };
  }
}
