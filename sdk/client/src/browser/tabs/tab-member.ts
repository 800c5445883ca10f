import { type Clock, delay } from '@sluice/domain';
import type { ClientCore } from '../../core/client-core.ts';
import { coded, errorInfo } from '../../core/errors.ts';
import type { Storage } from '../../core/storage.ts';
import { Leader } from './leader.ts';
import { LeaderLink } from './leader-link.ts';
import { Lobby } from './lobby.ts';
import type { OpenRequests } from './open-requests.ts';
import { leaderLockName, tabLockName } from './tab-messages.ts';
import { type HeldLock, requestLock } from './web-lock.ts';

/** How often a follower asks the leader for a sign of life. */
const PING_INTERVAL_MS = 1000;
/** Missed pings after which a page is told that it waits. */
const BUSY_PINGS = 3;
/** How long a call may wait for somebody to answer. */
const PATIENCE_MS = 30_000;
/** Missed pings after which the lock is taken. More than a long statement or a large checkpoint takes: the leader answers nothing meanwhile. */
const SILENT_PINGS = 10;

export interface TabMemberOptions {
  /** Names the database; tabs with the same share it. */
  readonly database: string;
  readonly clock: Clock;
  readonly requests: OpenRequests;
  /**
   * Opens the files, which nobody else can then. Tries again while somebody has them, and reports how long that has been; undefined
   * when this browser has no such files, or when the signal was aborted.
   */
  readonly openStorage: (signal: AbortSignal, onWaiting: (waitedMs: number) => void) => Promise<Storage | undefined>;
  /** Releases the storage when it fails. @throws AppError */
  readonly openCore: (storage: Storage, leader: Leader) => ClientCore;
}

/**
 * One tab among those that share a database. The one that holds the Web Lock is the leader: it opens the database and serves the
 * others, which stand in line for the lock. The browser gives it to the next when the leader ends, however that happens; what the
 * others had open they ask of the new one. File handles are exclusive as well, so a leader that lost its lock without knowing yet
 * cannot write beside the new one.
 */
export class TabMember {
  readonly #options: TabMemberOptions;
  readonly #tab = crypto.randomUUID();
  #freezing = new AbortController();
  #wake: (() => void) | undefined;

  constructor(options: TabMemberOptions) {
    this.#options = options;
  }

  /** Steps down, and stands in no line, until `resume`: a frozen tab answers nobody. */
  freeze(): void {
    this.#freezing.abort();
  }
  resume(): void {
    this.#freezing = new AbortController();
    this.#wake?.();
  }

  /** Takes part until the signal is aborted. False when this browser has no storage that tabs could share. @throws AppError */
  async run(closing: AbortSignal): Promise<boolean> {
    const { database, requests } = this.#options;
    const alive = await requestLock(tabLockName(database, this.#tab), { signal: closing });
    const lobby = new Lobby(database);
    lobby.listen({
      onMessage: (message) => {
        if (message.kind === 'signed-out' && message.tab !== this.#tab) requests.signedOutElsewhere();
      },
      onOtherVersion: () => undefined,
    });
    try {
      while (!closing.aborted) {
        const present = AbortSignal.any([closing, this.#freezing.signal]);
        const lock = await this.#waitForLock(lobby, present);
        const hasStorage = !lock || (await this.#lead(lobby, lock, present));
        if (!hasStorage) return false;
        await this.#awake(closing);
      }
      return true;
    } finally {
      lobby.close();
      alive?.release();
    }
  }
  async #awake(closing: AbortSignal): Promise<void> {
    if (!this.#freezing.signal.aborted || closing.aborted) return;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      closing.addEventListener('abort', () => resolve());
    });
  }

  /** Follows whoever leads until the lock is this tab's; undefined when the signal was aborted first. */
  async #waitForLock(lobby: Lobby, signal: AbortSignal): Promise<HeldLock | undefined> {
    const { database, requests } = this.#options;
    const name = leaderLockName(database);
    const done = new AbortController();
    const waiting = AbortSignal.any([signal, done.signal]);
    const inLine = requestLock(name, { signal: waiting });
    const onOtherVersion = (): void => {
      const error = errorInfo(coded('CLIENT_TABS_INCOMPATIBLE'));
      requests.tellNotServed(error);
      requests.rejectCalls(error, 0);
    };
    const link = new LeaderLink({ tab: this.#tab, lobby, requests, onOtherVersion });
    try {
      const silence = this.#silence(link, waiting);
      const granted = await Promise.race([inLine, silence]);
      if (granted || signal.aborted) return granted ?? (await inLine);
      // The lock's holder does not answer. If it is granted at this very moment, nothing is to be taken.
      done.abort();
      return (await inLine) ?? (await requestLock(name, { steal: true }));
    } finally {
      done.abort();
      link.close();
    }
  }
  /** Resolves when the leader has been silent for too long, or the signal was aborted. */
  async #silence(link: LeaderLink, signal: AbortSignal): Promise<undefined> {
    while (link.unanswered <= SILENT_PINGS) {
      await delay(this.#options.clock, PING_INTERVAL_MS, signal);
      if (signal.aborted) return;
      link.ping();
      if (link.unserved === BUSY_PINGS) this.#tellBusy();
      if (link.unserved >= BUSY_PINGS) this.#giveUpCalls();
    }
  }
  #tellBusy(): void {
    this.#options.requests.tellNotServed(errorInfo(coded('CLIENT_STORAGE_BUSY')));
  }
  /** Whoever calls is told at some time that nobody answers. */
  #giveUpCalls(): void {
    this.#options.requests.rejectCalls(errorInfo(coded('CLIENT_TAB_SILENT')), PATIENCE_MS);
  }

  /** Leads until the lock is lost or the signal aborted. False when this browser has no such storage. @throws AppError */
  async #lead(lobby: Lobby, lock: HeldLock, signal: AbortSignal): Promise<boolean> {
    const { clock, requests, openStorage, openCore } = this.#options;
    const lost = new AbortController();
    void lock.lost.then(() => lost.abort());
    const ending = AbortSignal.any([signal, lost.signal]);
    const leader = new Leader({ tab: this.#tab, clock, lobby, requests });
    let core: ClientCore | undefined;
    try {
      let told = false;
      const storage = await openStorage(ending, (waitedMs) => {
        this.#giveUpCalls();
        if (told || waitedMs < BUSY_PINGS * PING_INTERVAL_MS) return;
        told = true;
        this.#tellBusy();
      });
      if (!storage) return ending.aborted;
      core = openCore(storage, leader);
      leader.serve(core);
      await aborted(ending);
      return true;
    } finally {
      leader.close();
      core?.close();
      lock.release();
    }
  }
}

/** Resolves when it is. */
export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
