import { type Clock, formatLsn } from '@sluice/domain';
import { AppError, isAppError } from '@sluice/errors';
import type {
  CheckpointInfo,
  ClientErrorInfo,
  RejectedWriteInfo,
  Status,
  VerifyOptions,
  VerifyResult,
  WriteOperation,
} from '../types.ts';
import { errorInfo } from './errors.ts';
import type { ResultFrame } from './query/frame.ts';
import { LiveQueries } from './query/live-queries.ts';
import { type QueryParameter, QueryRunner } from './query/run-query.ts';
import type { Database } from './sqlite/database.ts';
import type { SqliteModule } from './sqlite/module.ts';
import type { Storage } from './storage.ts';
import type { StepObserver } from './store/apply-checkpoint.ts';
import { codedError } from './store/coded-error.ts';
import type { InflateRaw } from './store/inflate.ts';
import { type Applied, Replica } from './store/replica.ts';
import type { ConnectionState, ReportedError } from './sync/connection-state.ts';
import { type Progress, SyncDriver, type WebSocketLike } from './sync/sync-driver.ts';
import type { AskedWrite } from './writes/answered-writes.ts';
import type { Settlement } from './writes/pending-queue.ts';
import { rejectedInfo } from './writes/rejected-write.ts';

export interface ClientCoreOptions {
  readonly project: string;
  readonly sdk: string;
  readonly module: SqliteModule;
  readonly storage: Storage;
  readonly clock: Clock;
  readonly random: () => number;
  readonly openSocket: (subprotocol: string) => WebSocketLike;
  readonly fetchToken: () => Promise<string>;
  readonly onStatus: (status: Status) => void;
  /** Compressed bytes of one checkpoint kept in memory; undefined for the default. */
  readonly bufferedBytesMax: number | undefined;
  /** The platform's own, when it is faster than JavaScript's. */
  readonly inflate: InflateRaw | undefined;
  readonly onStep: StepObserver | undefined;
}
export interface CoreLiveListener {
  /** `result` names what the frame holds: two frames of one query with the same name are equal. */
  readonly onFrame: (frame: ResultFrame, checkpoint: CheckpointInfo | undefined, result: string) => void;
  readonly onError: (error: unknown) => void;
}
interface LiveEntry extends CoreLiveListener {
  readonly sql: string;
  readonly parameters: readonly QueryParameter[];
  /** Its number in the present engine. */
  id: number;
}
/** Everything that stands on one open database. */
interface Engine {
  readonly db: Database;
  readonly replica: Replica;
  readonly runner: QueryRunner;
  readonly live: LiveQueries;
  readonly driver: SyncDriver;
}

/**
 * How long what was written stays in the WAL alone, milliseconds. Whoever opens the database after a kill reads the whole WAL first,
 * and the tabs that wait for it should not notice.
 */
const WAL_CHECKPOINT_AFTER_MS = 500;
/** Progress is told at most this often, milliseconds. */
const PROGRESS_INTERVAL_MS = 100;
const CONNECTION_OF = {
  idle: 'offline',
  stopped: 'offline',
  waiting: 'offline',
  authorizing: 'connecting',
  opening: 'connecting',
  greeting: 'connecting',
  syncing: 'connected',
} as const;

/**
 * One client: storage, sync and queries joined, synchronous and without a page or process around it. Its callbacks must
 * not throw.
 */
export class ClientCore {
  readonly #options: ClientCoreOptions;
  readonly #live = new Map<number, LiveEntry>();
  /** Undefined once closed, or when the storage failed for good. */
  #engine: Engine | undefined;
  #status: Status;
  #isWanted = false;
  #isClosed = false;
  #lastLive = 0;
  #cancelWalCheckpoint: (() => void) | undefined;
  #progressToldAtMs = 0;

  /** @throws AppError CLIENT_STORAGE_* */
  constructor(options: ClientCoreOptions) {
    this.#options = options;
    const engine = this.#openEngine();
    const { replica } = engine;
    this.#engine = engine;
    this.#status = {
      connection: 'offline',
      source: undefined,
      checkpoint: checkpointInfo(replica.checkpoint),
      progress: undefined,
      lastError: options.storage.degraded && errorInfo(new AppError(options.storage.degraded)),
      storage: options.storage.kind,
      lastAppliedAtMs: replica.appliedAtMs,
      writes: { state: 'unknown', code: '', ...writeCounts(replica), lost: 0 },
    };
  }

  /** A database that cannot be read is a copy that lost its use: it is erased and loaded again. */
  #openEngine(): Engine {
    try {
      return this.#buildEngine();
    } catch (error) {
      if (!isAppError(error, 'CLIENT_STORAGE_CORRUPT')) throw error;
      this.#options.storage.destroy();
      return this.#buildEngine();
    }
  }
  #buildEngine(): Engine {
    const { storage, project, bufferedBytesMax, inflate, onStep } = this.#options;
    const db = openCoded(storage);
    try {
      const newClientId = (): string => this.#newClientId();
      const replica = new Replica(db, { project, newClientId, bufferedBytesMax, inflate, onStep });
      const runner = new QueryRunner(db);
      return { db, replica, runner, live: new LiveQueries(runner), driver: this.#newDriver(replica) };
    } catch (error) {
      db.close();
      throw error;
    }
  }
  /** A UUID of version 4; it only has to differ between clients. */
  #newClientId(): string {
    const digits = 'xxxxxxxx-xxxx-4xxx-8xxx-xxxxxxxxxxxx';
    return digits.replace(/x/g, () => Math.floor(this.#options.random() * 16).toString(16));
  }
  #newDriver(replica: Replica): SyncDriver {
    const { clock, random, openSocket, fetchToken, project, sdk } = this.#options;
    return new SyncDriver({
      replica,
      clock,
      random,
      openSocket,
      fetchToken,
      project,
      sdk,
      onCorrupt: () => this.#rebuildOrEnd(),
      onApplied: (applied) => this.#applied(applied),
      onSource: ({ state, code, rowsDone, rowsEstimate }) =>
        this.#setStatus({ source: { state, code, rowsDone, rowsEstimate } }),
      onWrites: ({ state, code }) => this.#setStatus({ writes: { ...this.#status.writes, state, code } }),
      onError: (error) => this.#setStatus({ lastError: reportedInfo(error) }),
      onPhase: (phase) => this.#phaseChanged(phase),
      onProgress: (progress) => this.#tellProgress(progress),
    });
  }

  /** Erases the database and begins anew on an empty one, with the same live queries. @throws AppError */
  #rebuild(): void {
    this.#closeEngine();
    this.#options.storage.destroy();
    const engine = this.#openEngine();
    this.#engine = engine;
    for (const entry of this.#live.values()) entry.id = this.#startLive(engine, entry);
    this.#setStatus({
      checkpoint: undefined,
      progress: undefined,
      lastAppliedAtMs: undefined,
      source: undefined,
      writes: { ...this.#status.writes, ...writeCounts(engine.replica) },
    });
    if (this.#isWanted) engine.driver.connect();
  }
  /** As #rebuild, where nobody could catch: a storage that fails even when empty ends this client. */
  #rebuildOrEnd(): void {
    try {
      this.#rebuild();
    } catch (error) {
      this.#setStatus({ connection: 'offline', lastError: errorInfo(error) });
    }
  }
  #closeEngine(): void {
    const engine = this.#engine;
    this.#engine = undefined;
    this.#cancelWalCheckpoint?.();
    this.#cancelWalCheckpoint = undefined;
    engine?.driver.disconnect();
    engine?.runner.close();
    engine?.replica.close();
    engine?.db.close();
  }
  /** @throws AppError when there is none any more. */
  #open(): Engine {
    if (this.#engine) return this.#engine;
    throw new AppError(this.#isClosed ? 'CLIENT_CLOSED' : 'CLIENT_STORAGE_FAILED');
  }

  get status(): Status {
    return this.#status;
  }
  get isReady(): boolean {
    return this.#engine?.replica.checkpoint !== undefined;
  }

  connect(): void {
    this.#isWanted = true;
    this.#open().driver.connect();
  }
  disconnect(): void {
    this.#isWanted = false;
    this.#engine?.driver.disconnect();
  }
  online(): void {
    this.#engine?.driver.online();
  }

  /** @throws AppError CLIENT_QUERY_*, CLIENT_NOT_READY */
  query(sql: string, parameters: readonly QueryParameter[]): ResultFrame {
    try {
      return this.#open().runner.run(sql, parameters);
    } catch (error) {
      if (isAppError(error, 'CLIENT_QUERY_INVALID') && !this.isReady)
        throw new AppError('CLIENT_NOT_READY', { cause: error });
      throw error;
    }
  }

  /**
   * Runs a local transaction: visible at once, sent when there is a connection. Gives what each operation returned. `asked` stands for
   * writes of other tabs: one that was done is not done again.
   * @throws AppError CLIENT_WRITE_*, CLIENT_QUERY_*, CLIENT_NOT_READY, CLIENT_STORAGE_*; then nothing of it was done
   */
  write(operations: readonly WriteOperation[], asked?: AskedWrite): readonly ResultFrame[] {
    const { replica, live, driver } = this.#open();
    if (!this.isReady) throw new AppError('CLIENT_NOT_READY');
    if (this.#status.writes.state === 'read-only') throw new AppError('CLIENT_WRITES_READ_ONLY');
    const { changedTables, results } = replica.write(operations, asked);
    if (changedTables.size > 0) {
      this.#checkpointWalSoon();
      this.#tellWrites();
      live.afterCommit(changedTables, false);
      driver.written();
    }
    return results;
  }
  /** Tabs whose writes may be asked for again, as far as this database knows. @throws AppError CLIENT_STORAGE_* */
  answeredTabs(): readonly string[] {
    return this.#open().replica.answeredTabs();
  }
  /** The tab asks for no write again. @throws AppError CLIENT_STORAGE_* */
  forgetTab(tab: string): void {
    this.#open().replica.forgetTab(tab);
  }
  /** Transactions that the server refused, oldest first. @throws AppError CLIENT_STORAGE_* */
  rejected(): readonly RejectedWriteInfo[] {
    const { replica } = this.#open();
    return replica.rejected().map((write) => rejectedInfo(write, replica.schema));
  }
  /** Forgets a refused transaction. Nothing happens when it is not there. @throws AppError CLIENT_STORAGE_* */
  dismiss(id: number): void {
    if (this.#open().replica.dismiss(id)) this.#tellWrites();
  }
  #tellWrites(): void {
    this.#setStatus({ writes: { ...this.#status.writes, ...writeCounts(this.#open().replica) } });
  }

  /** May call the listener before it returns, but not with the result it has. The number is for `removeLive`. */
  addLive(
    sql: string,
    parameters: readonly QueryParameter[],
    listener: CoreLiveListener,
    delivered: string | undefined = undefined,
  ): number {
    const engine = this.#open();
    const key = ++this.#lastLive;
    const entry: LiveEntry = { sql, parameters, ...listener, id: 0 };
    this.#live.set(key, entry);
    entry.id = this.#startLive(engine, entry, delivered);
    return key;
  }
  #startLive(engine: Engine, { sql, parameters, onFrame, onError }: LiveEntry, delivered?: string): number {
    const listener = {
      onFrame: (frame: ResultFrame, result: string) => onFrame(frame, this.#checkpointInfo(), result),
      onError,
    };
    return engine.live.add(sql, parameters, listener, { isReady: this.isReady, delivered });
  }
  removeLive(key: number): void {
    const entry = this.#live.get(key);
    this.#live.delete(key);
    if (entry) this.#engine?.live.remove(entry.id);
  }

  /** @throws AppError CLIENT_STORAGE_* */
  verify({ heal = false }: VerifyOptions = {}): VerifyResult {
    const { replica, driver } = this.#open();
    const result = replica.verify();
    if (heal && !result.ok) driver.distrust();
    return result;
  }
  exportFile(): Uint8Array<ArrayBuffer> {
    return this.#options.module.api.capi.sqlite3_js_db_export(this.#open().db.pointer) as Uint8Array<ArrayBuffer>;
  }
  signOut(): void {
    this.disconnect();
    this.#rebuild();
    this.#setStatus({ lastError: undefined });
  }
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#isWanted = false;
    this.#closeEngine();
    this.#options.storage.release();
  }

  #checkpointWalSoon(): void {
    const { clock, storage } = this.#options;
    if (storage.kind === 'memory') return;
    this.#cancelWalCheckpoint ??= clock.setTimer(WAL_CHECKPOINT_AFTER_MS, () => {
      this.#cancelWalCheckpoint = undefined;
      this.#checkpointWal();
    });
  }
  #checkpointWal(): void {
    try {
      this.#engine?.db.script('PRAGMA wal_checkpoint(PASSIVE)');
    } catch {
      // Everything is in the WAL still, and a commit that finds no room there reports it.
    }
  }

  #checkpointInfo(): CheckpointInfo | undefined {
    return checkpointInfo(this.#engine?.replica.checkpoint);
  }
  #applied({ changedTables, schemaChanged, settlement }: Applied): void {
    const { replica, live } = this.#open();
    this.#checkpointWalSoon();
    this.#setStatus({
      ...this.#settled(settlement, replica),
      checkpoint: this.#checkpointInfo(),
      progress: undefined,
      lastError: undefined,
      lastAppliedAtMs: replica.appliedAtMs,
    });
    live.afterCommit(changedTables, schemaChanged);
  }
  #settled({ settled, lost, isForeign }: Settlement, replica: Replica): Partial<Status> {
    if (settled === 0 && lost === 0 && !isForeign) return {};
    const { writes } = this.#status;
    return { writes: { ...writes, ...writeCounts(replica), lost: writes.lost + lost } };
  }
  #phaseChanged(phase: ConnectionState['phase']['kind']): void {
    const connection = CONNECTION_OF[phase];
    if (connection !== this.#status.connection) this.#setStatus({ connection });
  }
  #tellProgress(progress: Progress | undefined): void {
    const nowMs = this.#options.clock.monotonicMs();
    if (progress === undefined) {
      if (this.#status.progress) this.#setStatus({ progress });
    } else if (nowMs - this.#progressToldAtMs >= PROGRESS_INTERVAL_MS) {
      this.#progressToldAtMs = nowMs;
      this.#setStatus({ progress });
    }
  }
  #setStatus(change: Partial<Status>): void {
    this.#status = { ...this.#status, ...change };
    this.#options.onStatus(this.#status);
  }
}

function writeCounts(replica: Replica): { readonly pending: number; readonly rejected: number } {
  return { pending: replica.pendingCount, rejected: replica.rejectedCount };
}

/** @throws AppError */
function openCoded(storage: Storage): Database {
  try {
    return storage.open();
  } catch (error) {
    throw codedError(error);
  }
}

function checkpointInfo(checkpoint: Replica['checkpoint'] | undefined): CheckpointInfo | undefined {
  if (!checkpoint) return undefined;
  const { epoch, lsn, committedAtMs } = checkpoint;
  return { epoch, lsn: formatLsn(lsn), committedAtMs };
}
function reportedInfo(error: ReportedError): ClientErrorInfo {
  if (error.kind === 'server') return { code: error.code, message: error.message, remedy: error.remedy };
  return errorInfo(new AppError(error.code, { details: error.reason === undefined ? {} : { reason: error.reason } }));
}
