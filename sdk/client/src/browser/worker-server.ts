import type { Clock } from '@sluice/domain';
import { ClientCore } from '../core/client-core.ts';
import { coded, errorInfo } from '../core/errors.ts';
import type { ResultFrame } from '../core/query/frame.ts';
import type { SqliteModule } from '../core/sqlite/module.ts';
import type { StepObserver } from '../core/store/apply-checkpoint.ts';
import type { WebSocketLike } from '../core/sync/sync-driver.ts';
import type { Status } from '../types.ts';
import { SDK_NAME } from '../version.ts';
import { openStorage } from './open-storage.ts';
import { type Call, frameBuffers, type PageMessage, type WorkerMessage } from './rpc.ts';

export interface WorkerPorts {
  readonly post: (message: WorkerMessage, transfer: ArrayBuffer[]) => void;
  readonly loadModule: () => Promise<SqliteModule>;
  readonly openSocket: (url: string, subprotocol: string) => WebSocketLike;
  readonly clock: Clock;
  readonly random: () => number;
  readonly onStep: StepObserver | undefined;
}
type OpenMessage = Extract<PageMessage, { kind: 'open' }>;

/** One client inside a worker: answers its page's messages in order, also those that come before the database is open. */
export class WorkerServer {
  readonly #ports: WorkerPorts;
  readonly #closing = new AbortController();
  readonly #tokens = new Map<number, { resolve: (token: string) => void; reject: (error: Error) => void }>();
  readonly #liveKeys = new Map<number, number>();
  #core: Promise<ClientCore> | undefined;
  #lastToken = 0;

  constructor(ports: WorkerPorts) {
    this.#ports = ports;
  }

  receive(message: PageMessage): void {
    switch (message.kind) {
      case 'open':
        this.#core = this.#open(message);
        this.#core.catch((error) => this.#post({ kind: 'fatal', error: errorInfo(error) }));
        break;
      case 'token':
        this.#tokenArrived(message);
        break;
      case 'connect':
        this.#withCore((core) => core.connect());
        break;
      case 'disconnect':
        this.#withCore((core) => core.disconnect());
        break;
      case 'call':
        void this.#answer(message.id, message.call);
        break;
      case 'live':
        this.#withCore((core) => this.#addLive(core, message));
        break;
      case 'unlive':
        this.#withCore((core) => {
          const key = this.#liveKeys.get(message.id);
          this.#liveKeys.delete(message.id);
          if (key !== undefined) core.removeLive(key);
        });
        break;
    }
  }
  online(): void {
    this.#withCore((core) => core.online());
  }

  #post(message: WorkerMessage, transfer: ArrayBuffer[] = []): void {
    this.#ports.post(message, transfer);
  }
  /** A failed open has told the page already. */
  #withCore(use: (core: ClientCore) => void): void {
    this.#core?.then(use, () => undefined);
  }

  async #open({ url, project, name, storage: kind }: OpenMessage): Promise<ClientCore> {
    const { loadModule, openSocket, clock, random, onStep } = this.#ports;
    const module = await loadModule();
    const onBusy = (): void => this.#post({ kind: 'status', status: waitingStatus() });
    const storage = await openStorage({ module, clock, kind, project, name, signal: this.#closing.signal, onBusy });
    try {
      const core = new ClientCore({
        project,
        sdk: SDK_NAME,
        module,
        storage,
        clock,
        random,
        openSocket: (subprotocol) => openSocket(url, subprotocol),
        fetchToken: () => this.#fetchToken(),
        onStatus: (status) => this.#post({ kind: 'status', status }),
        bufferedBytesMax: undefined,
        inflate: undefined,
        onStep,
      });
      this.#post({ kind: 'status', status: core.status });
      return core;
    } catch (error) {
      storage.release();
      throw error;
    }
  }

  #fetchToken(): Promise<string> {
    const request = ++this.#lastToken;
    this.#post({ kind: 'auth', request });
    return new Promise((resolve, reject) => this.#tokens.set(request, { resolve, reject }));
  }
  #tokenArrived({ request, token }: Extract<PageMessage, { kind: 'token' }>): void {
    const waiting = this.#tokens.get(request);
    this.#tokens.delete(request);
    if (token === undefined) waiting?.reject(coded('CLIENT_AUTH_FAILED'));
    else waiting?.resolve(token);
  }

  #addLive(core: ClientCore, { id, sql, parameters }: Extract<PageMessage, { kind: 'live' }>): void {
    const key = core.addLive(sql, parameters, {
      onFrame: (frame, checkpoint) => this.#post({ kind: 'rows', id, frame, checkpoint }, frameBuffers(frame)),
      onError: (error) => this.#post({ kind: 'live-failure', id, error: errorInfo(error) }),
    });
    this.#liveKeys.set(id, key);
  }

  async #answer(id: number, call: Call): Promise<void> {
    try {
      if (call.method === 'close') this.#closing.abort();
      const core = await this.#core;
      if (!core) throw coded('CLIENT_CLOSED');
      const { value, transfer } = run(core, call);
      this.#post({ kind: 'result', id, value }, transfer);
    } catch (error) {
      this.#post({ kind: 'failure', id, error: errorInfo(error) });
    }
  }
}

function run(core: ClientCore, call: Call): { value: unknown; transfer: ArrayBuffer[] } {
  switch (call.method) {
    case 'query': {
      const frame: ResultFrame = core.query(call.sql, call.parameters);
      return { value: frame, transfer: frameBuffers(frame) };
    }
    case 'write': {
      const frames = core.write(call.operations);
      return { value: frames, transfer: frames.flatMap(frameBuffers) };
    }
    case 'rejected':
      return { value: core.rejected(), transfer: [] };
    case 'dismiss':
      core.dismiss(call.id);
      return { value: undefined, transfer: [] };
    case 'verify':
      return { value: core.verify({ heal: call.heal }), transfer: [] };
    case 'export': {
      const file = core.exportFile();
      return { value: file, transfer: [file.buffer] };
    }
    case 'signOut':
      core.signOut();
      return { value: undefined, transfer: [] };
    case 'close':
      core.close();
      return { value: undefined, transfer: [] };
  }
}

/** While another tab holds the database. */
function waitingStatus(): Status {
  return {
    connection: 'offline',
    source: undefined,
    checkpoint: undefined,
    progress: undefined,
    lastError: errorInfo(coded('CLIENT_STORAGE_BUSY')),
    storage: undefined,
    lastAppliedAtMs: undefined,
    writes: { state: 'unknown', code: '', pending: 0, rejected: 0, lost: 0 },
  };
}
