import type { Clock } from '@sluice/domain';
import { coded, errorInfo } from '../../core/errors.ts';
import type { ClientErrorInfo, QueryParameter, Status } from '../../types.ts';
import { INITIAL_STATUS } from '../initial-status.ts';
import type { Call, TabEvent, TabRequest } from '../rpc.ts';
import type { FollowerRequest } from './tab-messages.ts';

/** Calls of one page that may wait for an answer. */
const CALLS_OPEN_MAX = 10_000;
/** Calls that are with the leader at a time; the others wait here. */
const CALLS_SENT_MAX = 256;

/** Who answers for the time being: the database in this worker, or the leader in another. */
export type Upstream = (request: FollowerRequest) => void;

interface OpenCall {
  readonly call: Call;
  readonly askedAtMs: number;
  /** A leader got it, perhaps one of before. */
  wasSent: boolean;
}
interface OpenLive {
  readonly sql: string;
  readonly parameters: readonly QueryParameter[];
  /** Hash of the rows that the page has, or the failure. */
  told: string | undefined;
}

/**
 * Everything that a page asked for and still wants, so that it can be asked again of whoever holds the database next: the wish to be
 * connected, live queries, and calls that nobody answered. The page is told each answer once, and no rows that it has already.
 */
export class OpenRequests {
  readonly #clock: Clock;
  readonly #post: (event: TabEvent, transfer: ArrayBuffer[]) => void;
  readonly #calls = new Map<number, OpenCall>();
  /** Calls that the present upstream does not have, in order. */
  #waiting: number[] = [];
  readonly #live = new Map<number, OpenLive>();
  #wantsConnection = false;
  /** Another tab signed out, and nobody wanted a connection since. */
  #isSignedOut = false;
  #status = INITIAL_STATUS;
  #upstream: Upstream | undefined;
  #onIdle: (() => void) | undefined;
  #isSending = false;

  constructor(clock: Clock, post: (event: TabEvent, transfer: ArrayBuffer[]) => void) {
    this.#clock = clock;
    this.#post = post;
  }

  /** Asks `upstream` for everything that is open, in the order in which it was asked for. */
  attach(upstream: Upstream): void {
    this.detach();
    this.#upstream = upstream;
    if (this.#wantsConnection) upstream({ kind: 'connect' });
    for (const [id, { sql, parameters, told }] of this.#live)
      upstream({ kind: 'live', id, sql, parameters, delivered: told });
    this.#sendWaiting();
  }
  /** Nobody answers; what is asked from now on waits. */
  detach(): void {
    this.#upstream = undefined;
    this.#waiting = [...this.#calls.keys()];
  }

  /** Takes what the page asks. */
  receive(request: TabRequest): void {
    switch (request.kind) {
      case 'call':
        this.#addCall(request.id, request.call);
        return;
      case 'live':
        this.#live.set(request.id, { sql: request.sql, parameters: request.parameters, told: undefined });
        this.#upstream?.({ ...request, delivered: undefined });
        return;
      case 'unlive':
        this.#live.delete(request.id);
        break;
      case 'connect':
        this.#isSignedOut = false;
        this.#wantsConnection = true;
        break;
      case 'disconnect':
        this.#wantsConnection = false;
        break;
      case 'seen':
      case 'token':
        break;
    }
    this.#upstream?.(request);
  }
  #addCall(id: number, call: Call): void {
    if (this.#calls.size >= CALLS_OPEN_MAX) {
      this.#post({ kind: 'failure', id, error: errorInfo(coded('CLIENT_CALLS_TOO_MANY')) }, []);
      return;
    }
    if (call.method === 'signOut') this.#forgetSession();
    this.#calls.set(id, { call, askedAtMs: this.#clock.monotonicMs(), wasSent: false });
    this.#waiting.push(id);
    this.#sendWaiting();
  }
  /** A database in this worker answers before it returns, and then this is called again. */
  #sendWaiting(): void {
    if (this.#isSending) return;
    this.#isSending = true;
    while (this.#upstream && this.#calls.size - this.#waiting.length < CALLS_SENT_MAX) {
      const id = this.#waiting.shift();
      if (id === undefined) break;
      const open = this.#calls.get(id);
      if (!open) continue;
      const { call, wasSent: isRepeated } = open;
      open.wasSent = true;
      this.#upstream({ kind: 'call', id, call, oldestOpen: this.#oldestOpen(id), isRepeated });
    }
    this.#isSending = false;
  }
  /** The first key of a map is the one that was set first, and ids rise. */
  #oldestOpen(otherwise: number): number {
    for (const id of this.#calls.keys()) return id;
    return otherwise;
  }

  /** Takes what the upstream tells. */
  deliver(event: TabEvent, transfer: ArrayBuffer[]): void {
    switch (event.kind) {
      case 'result':
      case 'failure':
        if (this.#calls.delete(event.id)) this.#post(event, transfer);
        this.#sendWaiting();
        if (this.#calls.size === 0) this.#onIdle?.();
        return;
      case 'rows':
        this.#tellLive(event, event.result, transfer);
        return;
      case 'live-failure':
        this.#tellLive(event, `${event.error.code} ${event.error.remedy}`, transfer);
        return;
      case 'status':
        this.#tellStatus(event.status);
        return;
      case 'auth':
        this.#post(event, transfer);
        return;
    }
  }
  #tellLive(event: Extract<TabEvent, { kind: 'rows' | 'live-failure' }>, told: string, transfer: ArrayBuffer[]): void {
    const live = this.#live.get(event.id);
    if (live && live.told !== told) {
      live.told = told;
      this.#post(event, transfer);
    } else this.#upstream?.({ kind: 'seen', id: event.id });
  }
  #tellStatus(status: Status): void {
    this.#status = status;
    if (status.connection !== 'offline') this.#isSignedOut = false;
    const lastError = status.lastError ?? (this.#isSignedOut ? errorInfo(coded('CLIENT_SIGNED_OUT')) : undefined);
    this.#post({ kind: 'status', status: { ...status, lastError } }, []);
  }

  /** Nobody answers, and this is why. */
  tellNotServed(error: ClientErrorInfo): void {
    this.#post(
      { kind: 'status', status: { ...this.#status, connection: 'offline', progress: undefined, lastError: error } },
      [],
    );
  }
  /** Another tab signed out: nothing connects again before this page asks for it. */
  signedOutElsewhere(): void {
    this.#forgetSession();
    this.#isSignedOut = true;
    this.#tellStatus({ ...this.#status, connection: 'offline', checkpoint: undefined, progress: undefined });
  }
  /** Rows that come after it are told even if they are those of before. */
  #forgetSession(): void {
    this.#wantsConnection = false;
    for (const live of this.#live.values()) live.told = undefined;
  }

  get isServed(): boolean {
    return this.#upstream !== undefined;
  }
  /** Rejects the calls that have waited for an answer for so long. */
  rejectCalls(error: ClientErrorInfo, waitedMs: number): void {
    const nowMs = this.#clock.monotonicMs();
    for (const [id, { askedAtMs }] of this.#calls) {
      // They stand in the order in which they were asked.
      if (nowMs - askedAtMs < waitedMs) break;
      this.deliver({ kind: 'failure', id, error }, []);
    }
  }
  /** Resolves once no call is open. */
  idle(): Promise<void> {
    if (this.#calls.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onIdle = resolve;
    });
  }
}
