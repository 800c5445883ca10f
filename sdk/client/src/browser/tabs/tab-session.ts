import type { ClientCore } from '../../core/client-core.ts';
import { errorInfo } from '../../core/errors.ts';
import type { AskedWrite } from '../../core/writes/answered-writes.ts';
import type { Status } from '../../types.ts';
import { type Call, frameBuffers, STATUS_ID, type TabEvent } from '../rpc.ts';
import { Outbox } from './outbox.ts';
import type { FollowerRequest } from './tab-messages.ts';

export interface TabSessionOptions {
  readonly core: ClientCore;
  readonly post: (event: TabEvent, transfer: ArrayBuffer[]) => void;
  readonly tab: string;
  /** In another tab, which will ask again for writes that were not answered. */
  readonly isFollower: boolean;
  /** It wants the connection, or no longer. */
  readonly onWish: (session: TabSession) => void;
  /** Called before everything is erased. */
  readonly onSignOut: (session: TabSession) => void;
}

/** One tab as the leader serves it: the leader's own page or a follower's. Answers each request before it takes the next. */
export class TabSession {
  readonly #options: TabSessionOptions;
  readonly #outbox: Outbox<TabEvent>;
  readonly #liveKeys = new Map<number, number>();
  readonly #tokens = new Map<number, (token: string | undefined) => void>();
  #lastToken = 0;
  #wantsConnection = false;

  constructor(options: TabSessionOptions) {
    this.#options = options;
    this.#outbox = new Outbox((event) => this.#post(event, event.kind === 'rows' ? frameBuffers(event.frame) : []));
  }

  get wantsConnection(): boolean {
    return this.#wantsConnection;
  }

  receive(request: FollowerRequest): void {
    switch (request.kind) {
      case 'connect':
      case 'disconnect':
        this.#wantsConnection = request.kind === 'connect';
        this.#options.onWish(this);
        break;
      case 'call':
        this.#answer(request);
        break;
      case 'live':
        this.#addLive(request);
        break;
      case 'unlive':
        this.#removeLive(request.id);
        break;
      case 'seen':
        this.#outbox.seen(request.id);
        break;
      case 'token':
        this.#tokens.get(request.request)?.(request.token);
        this.#tokens.delete(request.request);
        break;
    }
  }
  #post(event: TabEvent, transfer: ArrayBuffer[] = []): void {
    this.#options.post(event, transfer);
  }

  tellStatus(status: Status): void {
    this.#outbox.send(STATUS_ID, { kind: 'status', status });
  }
  /** Somebody signed out: whoever wants the connection after it has to say so again. */
  forgetWish(): void {
    this.#wantsConnection = false;
  }

  /** Asks the app of this tab; undefined when it gave none. It may never answer. */
  askToken(): Promise<string | undefined> {
    const request = ++this.#lastToken;
    this.#post({ kind: 'auth', request });
    return new Promise((resolve) => this.#tokens.set(request, resolve));
  }

  /** Ends its live queries. */
  close(): void {
    for (const id of [...this.#liveKeys.keys()]) this.#removeLive(id);
    for (const resolve of this.#tokens.values()) resolve(undefined);
    this.#tokens.clear();
  }

  #addLive({ id, sql, parameters, delivered }: Extract<FollowerRequest, { kind: 'live' }>): void {
    const { core } = this.#options;
    try {
      const key = core.addLive(
        sql,
        parameters,
        {
          onFrame: (frame, checkpoint, result) =>
            this.#outbox.send(id, { kind: 'rows', id, frame, checkpoint, result }),
          onError: (error) => this.#outbox.send(id, { kind: 'live-failure', id, error: errorInfo(error) }),
        },
        delivered,
      );
      this.#liveKeys.set(id, key);
    } catch (error) {
      this.#outbox.send(id, { kind: 'live-failure', id, error: errorInfo(error) });
    }
  }
  #removeLive(id: number): void {
    const key = this.#liveKeys.get(id);
    this.#liveKeys.delete(id);
    this.#outbox.forget(id);
    if (key !== undefined) this.#options.core.removeLive(key);
  }

  #answer({ id, call, oldestOpen, isRepeated }: Extract<FollowerRequest, { kind: 'call' }>): void {
    const { tab, isFollower } = this.#options;
    try {
      const asked = isFollower || isRepeated ? { tab, call: id, oldestOpen } : undefined;
      const { value, transfer } = this.#run(call, asked);
      this.#post({ kind: 'result', id, value }, transfer);
    } catch (error) {
      this.#post({ kind: 'failure', id, error: errorInfo(error) });
    }
  }
  #run(call: Call, asked: AskedWrite | undefined): { value: unknown; transfer: ArrayBuffer[] } {
    const { core } = this.#options;
    switch (call.method) {
      case 'query': {
        const frame = core.query(call.sql, call.parameters);
        return { value: frame, transfer: frameBuffers(frame) };
      }
      case 'write': {
        const frames = core.write(call.operations, asked);
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
        this.#wantsConnection = false;
        this.#options.onSignOut(this);
        core.signOut();
        return { value: undefined, transfer: [] };
    }
  }
}
