import { delay } from '@sluice/domain';
import { type ResultFrame, rowsFromFrame } from '../core/query/frame.ts';
import { systemClock } from '../system-clock.ts';
import {
  type ClientErrorInfo,
  type LiveInfo,
  type QueryParameter,
  type QueryRow,
  type RejectedWriteInfo,
  type SluiceClient,
  SluiceError,
  type Status,
  type Subscription,
  type VerifyOptions,
  type VerifyResult,
  type WriteOperation,
} from '../types.ts';
import { INITIAL_STATUS } from './initial-status.ts';
import { onFreeze } from './page-lifecycle.ts';
import { type Call, type PageMessage, STATUS_ID, type WorkerMessage } from './rpc.ts';

export interface ClientOptions {
  /** Address of the sync gateway, `ws:` or `wss:`. */
  readonly url: string;
  readonly project: string;
  /** Gives a token of the user; called at each connect and before a token ends. */
  readonly auth: () => string | Promise<string>;
  /** `opfs` (the default) outlives the page where the browser allows it. */
  readonly storage?: 'opfs' | 'memory';
  /** Which database of the project: one per user of this browser, `default` if left out. */
  readonly name?: string;
  /** Starts the worker, where a bundler or a policy needs it done in another way. */
  readonly worker?: () => Worker;
}

/** How long `close` waits for the worker before it ends it. */
const CLOSE_WITHIN_MS = 3000;

interface LiveEntry {
  readonly onFrame: (frame: ResultFrame, info: LiveInfo) => void;
  readonly onError: (error: SluiceError) => void;
}

const CLOSED: ClientErrorInfo = {
  code: 'CLIENT_CLOSED',
  message: 'The client was closed.',
  remedy: 'Create a new client.',
};
const WORKER_FAILED: ClientErrorInfo = {
  code: 'CLIENT_WORKER_FAILED',
  message: "The client's worker could not be started, or ended.",
  remedy:
    'Serve worker.bundle.js and sqlite3.wasm beside each other and allow them in the Content Security Policy (worker-src, wasm-unsafe-eval), then create the client again.',
};

/**
 * Opens the replica of one project and user in a worker of its own. Nothing connects before `connect()`; calls may be made
 * at once and are answered when the database is open.
 * @throws SluiceError CLIENT_OPTIONS_INVALID
 */
export function createClient(options: ClientOptions): SluiceClient {
  checkOptions(options);
  const worker = options.worker
    ? options.worker()
    : new Worker(new URL('./worker.bundle.js', import.meta.url), { type: 'module' });
  return new PageClient(worker, options);
}

class PageClient implements SluiceClient {
  readonly #worker: Worker;
  readonly #auth: () => string | Promise<string>;
  readonly #calls = new Map<number, { resolve: (value: unknown) => void; reject: (error: SluiceError) => void }>();
  readonly #live = new Map<number, LiveEntry>();
  readonly #listeners = new Set<(status: Status) => void>();
  readonly #waiting = new Set<{ resolve: () => void; reject: (error: SluiceError) => void }>();
  #status = INITIAL_STATUS;
  readonly #stopWatching: () => void;
  #last = 0;
  #onClosed: (() => void) | undefined;
  #closing: Promise<void> | undefined;
  /** Set once nothing can be asked any more. */
  #ended: ClientErrorInfo | undefined;

  constructor(worker: Worker, { url, project, auth, storage = 'opfs', name = 'default' }: ClientOptions) {
    this.#worker = worker;
    this.#auth = auth;
    worker.addEventListener('message', (event: MessageEvent<WorkerMessage>) => this.#receive(event.data));
    worker.addEventListener('error', () => this.#end(WORKER_FAILED));
    this.#post({ kind: 'open', url, project, name, storage });
    this.#stopWatching = onFreeze((isFrozen) => this.#post({ kind: isFrozen ? 'freeze' : 'resume' }));
  }

  #post(message: PageMessage): void {
    this.#worker.postMessage(message);
  }
  #receive(message: WorkerMessage): void {
    switch (message.kind) {
      case 'status':
        this.#setStatus(message.status);
        this.#post({ kind: 'seen', id: STATUS_ID });
        break;
      case 'result':
        this.#calls.get(message.id)?.resolve(message.value);
        this.#calls.delete(message.id);
        break;
      case 'failure':
        this.#calls.get(message.id)?.reject(new SluiceError(message.error));
        this.#calls.delete(message.id);
        break;
      case 'rows':
        this.#post({ kind: 'seen', id: message.id });
        this.#live.get(message.id)?.onFrame(message.frame, { checkpoint: message.checkpoint });
        break;
      case 'live-failure':
        this.#post({ kind: 'seen', id: message.id });
        this.#live.get(message.id)?.onError(new SluiceError(message.error));
        break;
      case 'auth':
        void this.#answerAuth(message.request);
        break;
      case 'closed':
        this.#onClosed?.();
        break;
      case 'fatal':
        this.#end(message.error);
        break;
    }
  }
  #setStatus(status: Status): void {
    this.#status = status;
    if (status.checkpoint) {
      for (const { resolve } of this.#waiting) resolve();
      this.#waiting.clear();
    }
    for (const listener of this.#listeners) listener(status);
  }
  async #answerAuth(request: number): Promise<void> {
    let token: string | undefined;
    try {
      token = await this.#auth();
    } catch {
      // The worker reports it; the app knows its own error.
    }
    this.#post({ kind: 'token', request, token: typeof token === 'string' ? token : undefined });
  }

  /** Ends the worker and everything that waits for it. */
  #end(error: ClientErrorInfo): void {
    if (this.#ended) return;
    this.#ended = error;
    this.#worker.terminate();
    this.#stopWatching();
    this.#setStatus({
      ...this.#status,
      connection: 'offline',
      progress: undefined,
      lastError: error === CLOSED ? this.#status.lastError : error,
    });
    for (const { reject } of [...this.#calls.values(), ...this.#waiting]) reject(new SluiceError(error));
    this.#calls.clear();
    this.#waiting.clear();
    this.#live.clear();
    this.#listeners.clear();
  }
  #call(call: Call): Promise<unknown> {
    if (this.#ended) return Promise.reject(new SluiceError(this.#ended));
    const id = ++this.#last;
    return new Promise((resolve, reject) => {
      this.#calls.set(id, { resolve, reject });
      this.#post({ kind: 'call', id, call });
    });
  }

  connect(): void {
    if (this.#ended) throw new SluiceError(this.#ended);
    this.#post({ kind: 'connect' });
  }
  disconnect(): void {
    if (!this.#ended) this.#post({ kind: 'disconnect' });
  }
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }
  async #close(): Promise<void> {
    if (this.#ended) return;
    // One that never opened has nothing to close, and one that the browser killed does not answer.
    const closed = new Promise<void>((resolve) => {
      this.#onClosed = resolve;
    });
    this.#post({ kind: 'close' });
    const patience = new AbortController();
    await Promise.race([closed, delay(systemClock, CLOSE_WITHIN_MS, patience.signal)]);
    patience.abort();
    this.#end(CLOSED);
  }

  async query<T = QueryRow>(sql: string, parameters: readonly QueryParameter[] = []): Promise<T[]> {
    // A query is answered with a frame; the type of its rows is the caller's knowledge of the SQL.
    return rowsFromFrame((await this.#call({ method: 'query', sql, parameters })) as ResultFrame) as T[];
  }
  async write(operations: WriteOperation | readonly WriteOperation[]): Promise<QueryRow[][]> {
    const list: readonly WriteOperation[] = Array.isArray(operations) ? operations : [operations];
    return ((await this.#call({ method: 'write', operations: list })) as ResultFrame[]).map(rowsFromFrame);
  }
  async rejected(): Promise<readonly RejectedWriteInfo[]> {
    return (await this.#call({ method: 'rejected' })) as RejectedWriteInfo[];
  }
  async dismiss(id: number): Promise<void> {
    await this.#call({ method: 'dismiss', id });
  }
  live<T = QueryRow>(
    sql: string,
    parameters: readonly QueryParameter[],
    onRows: (rows: T[], info: LiveInfo) => void,
    onError: (error: SluiceError) => void = () => undefined,
  ): Subscription {
    if (this.#ended) throw new SluiceError(this.#ended);
    const id = ++this.#last;
    this.#live.set(id, { onFrame: (frame, info) => onRows(rowsFromFrame(frame) as T[], info), onError });
    this.#post({ kind: 'live', id, sql, parameters });
    return {
      unsubscribe: () => {
        if (this.#live.delete(id)) this.#post({ kind: 'unlive', id });
      },
    };
  }

  status(): Status {
    return this.#status;
  }
  onStatus(listener: (status: Status) => void): () => void {
    this.#listeners.add(listener);
    listener(this.#status);
    return () => this.#listeners.delete(listener);
  }
  ready(): Promise<void> {
    if (this.#ended) return Promise.reject(new SluiceError(this.#ended));
    if (this.#status.checkpoint) return Promise.resolve();
    return new Promise((resolve, reject) => this.#waiting.add({ resolve, reject }));
  }
  async verify({ heal = false }: VerifyOptions = {}): Promise<VerifyResult> {
    return (await this.#call({ method: 'verify', heal })) as VerifyResult;
  }
  async export(): Promise<Uint8Array> {
    return (await this.#call({ method: 'export' })) as Uint8Array;
  }
  async signOut(): Promise<void> {
    await this.#call({ method: 'signOut' });
  }
}

function checkOptions({ url, project, auth, storage, name }: ClientOptions): void {
  const reasons = [
    [/^wss?:\/\//.test(url) && URL.canParse(url), 'url is not a ws: address'],
    [typeof project === 'string' && project !== '', 'project is empty'],
    [typeof auth === 'function', 'auth is not a function'],
    [storage === undefined || storage === 'opfs' || storage === 'memory', 'storage is neither opfs nor memory'],
    [name === undefined || (typeof name === 'string' && name !== ''), 'name is empty'],
  ] as const;
  for (const [isRight, reason] of reasons) if (!isRight) throw new SluiceError(optionsInvalid(reason));
}
function optionsInvalid(reason: string): ClientErrorInfo {
  return {
    code: 'CLIENT_OPTIONS_INVALID',
    message: 'The client was created with an option that cannot be used.',
    remedy: `Correct the option: ${reason}.`,
  };
}
