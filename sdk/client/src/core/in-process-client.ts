import { AppError } from '@sluice/errors';
import type {
  CheckpointInfo,
  LiveInfo,
  QueryParameter,
  QueryRow,
  RejectedWriteInfo,
  SluiceClient,
  SluiceError,
  Status,
  Subscription,
  VerifyOptions,
  VerifyResult,
  WriteOperation,
} from '../types.ts';
import type { ClientCore } from './client-core.ts';
import { sluiceError } from './errors.ts';
import { type ResultFrame, rowsFromFrame } from './query/frame.ts';

/** The public client around a core in the same thread. The core reports its status to `statusChanged`. */
export class InProcessClient implements SluiceClient {
  readonly #core: ClientCore;
  readonly #listeners = new Set<(status: Status) => void>();
  readonly #waiting = new Set<{ resolve: () => void; reject: (error: SluiceError) => void }>();
  #isClosed = false;

  constructor(core: ClientCore) {
    this.#core = core;
  }

  statusChanged(status: Status): void {
    if (status.checkpoint) {
      for (const { resolve } of this.#waiting) resolve();
      this.#waiting.clear();
    }
    for (const listener of this.#listeners) queueMicrotask(() => this.#listeners.has(listener) && listener(status));
  }

  connect(): void {
    this.#use(() => this.#core.connect());
  }
  disconnect(): void {
    if (!this.#isClosed) this.#core.disconnect();
  }
  close(): Promise<void> {
    this.#isClosed = true;
    this.#listeners.clear();
    for (const { reject } of this.#waiting) reject(sluiceError(new AppError('CLIENT_CLOSED')));
    this.#waiting.clear();
    this.#core.close();
    return Promise.resolve();
  }

  async query<T = QueryRow>(sql: string, parameters: readonly QueryParameter[] = []): Promise<T[]> {
    // The type of a row is the caller's knowledge of the SQL.
    return this.#use(() => rowsFromFrame(this.#core.query(sql, parameters))) as T[];
  }
  async write(operations: WriteOperation | readonly WriteOperation[]): Promise<QueryRow[][]> {
    const list: readonly WriteOperation[] = Array.isArray(operations) ? operations : [operations];
    return this.#use(() => this.#core.write(list)).map(rowsFromFrame);
  }
  async rejected(): Promise<readonly RejectedWriteInfo[]> {
    return this.#use(() => this.#core.rejected());
  }
  async dismiss(id: number): Promise<void> {
    this.#use(() => this.#core.dismiss(id));
  }
  live<T = QueryRow>(
    sql: string,
    parameters: readonly QueryParameter[],
    onRows: (rows: T[], info: LiveInfo) => void,
    onError?: (error: SluiceError) => void,
  ): Subscription {
    let isOn = true;
    // Called later, so that an app's listener can neither throw into the sync nor run before `live` has returned.
    const later = (call: () => void): void => queueMicrotask(() => isOn && call());
    const onFrame = (frame: ResultFrame, checkpoint: CheckpointInfo | undefined): void =>
      later(() => onRows(rowsFromFrame(frame) as T[], { checkpoint }));
    const key = this.#use(() =>
      this.#core.addLive(sql, parameters, {
        onFrame,
        onError: (error) => later(() => onError?.(sluiceError(error))),
      }),
    );
    return {
      unsubscribe: () => {
        isOn = false;
        this.#core.removeLive(key);
      },
    };
  }

  status(): Status {
    return this.#core.status;
  }
  onStatus(listener: (status: Status) => void): () => void {
    this.#listeners.add(listener);
    listener(this.#core.status);
    return () => this.#listeners.delete(listener);
  }
  ready(): Promise<void> {
    if (this.#isClosed) return Promise.reject(sluiceError(new AppError('CLIENT_CLOSED')));
    if (this.#core.isReady) return Promise.resolve();
    return new Promise((resolve, reject) => this.#waiting.add({ resolve, reject }));
  }
  async verify(options?: VerifyOptions): Promise<VerifyResult> {
    return this.#use(() => this.#core.verify(options));
  }
  async export(): Promise<Uint8Array> {
    return this.#use(() => this.#core.exportFile());
  }
  async signOut(): Promise<void> {
    this.#use(() => this.#core.signOut());
  }

  #use<T>(work: () => T): T {
    if (this.#isClosed) throw sluiceError(new AppError('CLIENT_CLOSED'));
    try {
      return work();
    } catch (error) {
      throw sluiceError(error);
    }
  }
}
