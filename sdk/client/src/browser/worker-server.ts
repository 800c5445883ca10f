import type { Clock } from '@sluice/domain';
import { ClientCore } from '../core/client-core.ts';
import { errorInfo } from '../core/errors.ts';
import type { SqliteModule } from '../core/sqlite/module.ts';
import { memoryStorage, type Storage } from '../core/storage.ts';
import type { StepObserver } from '../core/store/apply-checkpoint.ts';
import type { WebSocketLike } from '../core/sync/sync-driver.ts';
import { SDK_NAME } from '../version.ts';
import { databaseId, hasOpfs, OpfsFiles } from './open-storage.ts';
import type { PageMessage, WorkerMessage } from './rpc.ts';
import { Leader } from './tabs/leader.ts';
import { OpenRequests } from './tabs/open-requests.ts';
import { aborted, TabMember } from './tabs/tab-member.ts';

export interface WorkerPorts {
  readonly post: (message: WorkerMessage, transfer: ArrayBuffer[]) => void;
  readonly loadModule: () => Promise<SqliteModule>;
  readonly openSocket: (url: string, subprotocol: string) => WebSocketLike;
  readonly clock: Clock;
  readonly random: () => number;
  readonly onStep: StepObserver | undefined;
}
type OpenMessage = Extract<PageMessage, { kind: 'open' }>;

/** One client inside a worker: has its page's requests answered here or by another tab, also those that come before there is a database. */
export class WorkerServer {
  readonly #ports: WorkerPorts;
  readonly #closing = new AbortController();
  readonly #requests: OpenRequests;
  #member: TabMember | undefined;
  #isFrozen = false;
  #running: Promise<void> | undefined;
  /** While the database is held here. */
  #core: ClientCore | undefined;

  constructor(ports: WorkerPorts) {
    this.#ports = ports;
    this.#requests = new OpenRequests(ports.clock, (event, transfer) => this.#post(event, transfer));
  }

  receive(message: PageMessage): void {
    switch (message.kind) {
      case 'open':
        this.#running = this.#run(message).catch((error) => this.#post({ kind: 'fatal', error: errorInfo(error) }));
        break;
      case 'freeze':
        this.#isFrozen = true;
        this.#member?.freeze();
        break;
      case 'resume':
        this.#isFrozen = false;
        this.#member?.resume();
        break;
      case 'close':
        void this.#close();
        break;
      default:
        this.#requests.receive(message);
    }
  }
  online(): void {
    this.#core?.online();
  }
  #post(message: WorkerMessage, transfer: ArrayBuffer[] = []): void {
    this.#ports.post(message, transfer);
  }
  /** Calls that were made before are answered first, if there is somebody to answer them. */
  async #close(): Promise<void> {
    if (this.#requests.isServed) await this.#requests.idle();
    this.#closing.abort();
    await this.#running;
    this.#post({ kind: 'closed' });
  }

  async #run(open: OpenMessage): Promise<void> {
    const module = await this.#ports.loadModule();
    if (open.storage === 'memory') return this.#serveAlone(module, open, undefined);
    const isShared = hasOpfs() && (await this.#takePart(module, open));
    if (!isShared) await this.#serveAlone(module, open, 'CLIENT_STORAGE_UNAVAILABLE');
  }
  async #takePart(module: SqliteModule, open: OpenMessage): Promise<boolean> {
    const { clock } = this.#ports;
    const database = await databaseId(open);
    const files = new OpfsFiles(module, clock, database);
    this.#member = new TabMember({
      database,
      clock,
      requests: this.#requests,
      openStorage: (signal, onWaiting) => files.open(signal, onWaiting),
      openCore: (storage, leader) => this.#openCore(module, open, storage, leader),
    });
    if (this.#isFrozen) this.#member.freeze();
    return this.#member.run(this.#closing.signal);
  }
  /** A database in memory is no other tab's. */
  async #serveAlone(module: SqliteModule, open: OpenMessage, degraded: Storage['degraded']): Promise<void> {
    const leader = new Leader({ tab: 'only', clock: this.#ports.clock, lobby: undefined, requests: this.#requests });
    const core = this.#openCore(module, open, memoryStorage(module, degraded), leader);
    leader.serve(core);
    await aborted(this.#closing.signal);
    leader.close();
    core.close();
  }

  #openCore(module: SqliteModule, { url, project }: OpenMessage, storage: Storage, leader: Leader): ClientCore {
    const { openSocket, clock, random, onStep } = this.#ports;
    try {
      this.#core = new ClientCore({
        project,
        sdk: SDK_NAME,
        module,
        storage,
        clock,
        random,
        openSocket: (subprotocol) => openSocket(url, subprotocol),
        fetchToken: () => leader.token(),
        onStatus: (status) => leader.tellStatus(status),
        bufferedBytesMax: undefined,
        inflate: undefined,
        onStep,
      });
      return this.#core;
    } catch (error) {
      storage.release();
      throw error;
    }
  }
}
