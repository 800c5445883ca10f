import { type Clock, delay } from '@sluice/domain';
import type { ClientCore } from '../../core/client-core.ts';
import { coded } from '../../core/errors.ts';
import type { Status } from '../../types.ts';
import type { TabEvent } from '../rpc.ts';
import type { Lobby } from './lobby.ts';
import type { OpenRequests } from './open-requests.ts';
import { type FollowerMessage, followerChannelName, type LeaderMessage, tabLockName } from './tab-messages.ts';
import { TabSession } from './tab-session.ts';
import { requestLock } from './web-lock.ts';

/** How long one tab is waited for before the next is asked for a token. */
const TOKEN_PATIENCE_MS = 5000;
/** Tabs that are asked for one token; together they stay within the time that a token may take. */
const TOKEN_TABS_MAX = 4;

export interface LeaderOptions {
  readonly tab: string;
  readonly clock: Clock;
  /** Undefined where the database is this tab's alone. */
  readonly lobby: Lobby | undefined;
  readonly requests: OpenRequests;
}
interface Follower {
  readonly session: TabSession;
  readonly channel: BroadcastChannel;
}

/**
 * Serves the one open database to the tab that holds it and to all others. A follower's requests and what it is told travel on a
 * channel of its own, so that no tab gets rows that it did not ask for.
 */
export class Leader {
  readonly #options: LeaderOptions;
  readonly #followers = new Map<string, Follower>();
  readonly #ended = new AbortController();
  #serving: { readonly core: ClientCore; readonly own: TabSession } | undefined;
  #unlisten = (): void => undefined;

  constructor(options: LeaderOptions) {
    this.#options = options;
    const { lobby, tab } = options;
    if (!lobby) return;
    this.#unlisten = lobby.listen({
      onMessage: (message) => {
        if (message.kind === 'who') this.#announce();
        else if (message.kind === 'join' && message.leader === tab) this.#join(message.tab);
      },
      onOtherVersion: (kind) => {
        if (kind === 'who') this.#announce();
      },
    });
    this.#announce();
  }
  #announce(): void {
    const { lobby, tab } = this.#options;
    lobby?.post({ kind: 'leader', leader: tab, isServing: this.#serving !== undefined });
  }

  /** From now on the database is there. */
  serve(core: ClientCore): void {
    const { requests, tab } = this.#options;
    const own = this.#newSession(core, {
      tab,
      isFollower: false,
      post: (event, transfer) => requests.deliver(event, transfer),
    });
    this.#serving = { core, own };
    own.tellStatus(core.status);
    requests.attach((request) => own.receive(request));
    this.#announce();
    for (const known of core.answeredTabs())
      if (known === tab) this.#forget(core, tab);
      else this.#watch(known);
  }
  #newSession(
    core: ClientCore,
    options: {
      readonly tab: string;
      readonly isFollower: boolean;
      readonly post: (event: TabEvent, transfer: ArrayBuffer[]) => void;
    },
  ): TabSession {
    return new TabSession({
      core,
      ...options,
      onWish: (session) => this.#wished(session),
      onSignOut: (session) => this.#signedOut(session, options.tab),
    });
  }

  #join(tab: string): void {
    if (!this.#serving || this.#followers.has(tab)) return;
    const { core } = this.#serving;
    const { lobby, tab: leader } = this.#options;
    const channel = new BroadcastChannel(followerChannelName(lobby?.database ?? '', tab));
    const post = (message: LeaderMessage): void => channel.postMessage(message);
    const session = this.#newSession(core, {
      tab,
      isFollower: true,
      post: (event) => post({ to: 'follower', leader, kind: 'event', event }),
    });
    channel.onmessage = ({ data }: MessageEvent<LeaderMessage | FollowerMessage>) => {
      if (data.to !== 'leader' || data.leader !== leader) return;
      if (data.kind === 'request') session.receive(data.request);
      else if (data.kind === 'ping') post({ to: 'follower', leader, kind: 'pong' });
      else this.#remove(tab);
    };
    this.#followers.set(tab, { session, channel });
    post({ to: 'follower', leader, kind: 'welcome' });
    session.tellStatus(core.status);
    this.#watch(tab);
  }
  /** Waits until the tab is gone, whose lock is free then, and forgets it. */
  #watch(tab: string): void {
    const { lobby } = this.#options;
    if (!lobby) return;
    void requestLock(tabLockName(lobby.database, tab), { signal: this.#ended.signal }).then((lock) => {
      lock?.release();
      if (!lock || !this.#serving) return;
      this.#remove(tab);
      this.#forget(this.#serving.core, tab);
    });
  }
  #forget(core: ClientCore, tab: string): void {
    try {
      core.forgetTab(tab);
    } catch {
      // Whatever failed is told where somebody needs it; the next leader forgets this tab.
    }
  }
  #remove(tab: string): void {
    const follower = this.#followers.get(tab);
    this.#followers.delete(tab);
    if (!follower) return;
    follower.channel.close();
    follower.session.close();
    this.#hangUpIfUnwanted();
  }

  tellStatus(status: Status): void {
    for (const session of this.#sessions()) session.tellStatus(status);
  }
  #sessions(): TabSession[] {
    const own = this.#serving ? [this.#serving.own] : [];
    return [...own, ...[...this.#followers.values()].map(({ session }) => session)];
  }

  #wished({ wantsConnection }: TabSession): void {
    if (wantsConnection) this.#serving?.core.connect();
    else this.#hangUpIfUnwanted();
  }
  #hangUpIfUnwanted(): void {
    if (!this.#sessions().some(({ wantsConnection }) => wantsConnection)) this.#serving?.core.disconnect();
  }
  /** The others are told before anything is erased, so that none of them connects again for having heard of it too late. */
  #signedOut(by: TabSession, tab: string): void {
    const { lobby, requests } = this.#options;
    lobby?.post({ kind: 'signed-out', tab });
    if (by !== this.#serving?.own) requests.signedOutElsewhere();
    for (const session of this.#sessions()) session.forgetWish();
  }

  /** A token of the user, from a tab that wants the connection: this one's page first. @throws AppError CLIENT_AUTH_FAILED */
  async token(): Promise<string> {
    const { clock } = this.#options;
    const asked = this.#sessions().filter(({ wantsConnection }) => wantsConnection);
    for (const session of asked.slice(0, TOKEN_TABS_MAX)) {
      const patience = new AbortController();
      const timeout = delay(clock, TOKEN_PATIENCE_MS, patience.signal).then(() => undefined);
      const isLast = session === asked.at(-1);
      // The last one may take all the time that there is.
      const token = await (isLast ? session.askToken() : Promise.race([session.askToken(), timeout]));
      patience.abort();
      if (token !== undefined) return token;
    }
    throw coded('CLIENT_AUTH_FAILED');
  }

  /** Nobody is served any more; the database is the caller's to close. */
  close(): void {
    this.#unlisten();
    this.#ended.abort();
    this.#options.requests.detach();
    for (const { channel, session } of this.#followers.values()) {
      channel.close();
      session.close();
    }
    this.#followers.clear();
    this.#serving = undefined;
  }
}
