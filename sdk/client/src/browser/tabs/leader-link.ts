import type { Lobby } from './lobby.ts';
import type { OpenRequests } from './open-requests.ts';
import {
  type FollowerMessage,
  type FollowerRequest,
  followerChannelName,
  type LeaderMessage,
  type LobbyMessage,
} from './tab-messages.ts';

export interface LeaderLinkOptions {
  readonly tab: string;
  readonly lobby: Lobby;
  readonly requests: OpenRequests;
  /** The leader is of another version of the SDK, and cannot serve this tab. */
  readonly onOtherVersion: () => void;
}

/** The way of a follower to whichever tab holds the database: asks it for everything that is open, and anew when another holds it. */
export class LeaderLink {
  readonly #options: LeaderLinkOptions;
  readonly #channel: BroadcastChannel;
  readonly #unlisten: () => void;
  /** The leader that serves this tab, or has been asked to. */
  #leader: string | undefined;
  #isWelcome = false;
  /** Pings since the holder of the database was heard of. */
  #unanswered = 0;
  /** Pings since this tab was served. */
  #unserved = 0;

  constructor(options: LeaderLinkOptions) {
    this.#options = options;
    const { lobby, tab } = options;
    this.#channel = new BroadcastChannel(followerChannelName(lobby.database, tab));
    this.#channel.onmessage = ({ data }: MessageEvent<LeaderMessage | FollowerMessage>) => {
      if (data.to === 'follower') this.#told(data);
    };
    this.#unlisten = lobby.listen({
      onMessage: (message) => {
        if (message.kind === 'leader') this.#heardOf(message);
      },
      onOtherVersion: (kind) => {
        if (kind !== 'leader') return;
        this.#unanswered = 0;
        this.#unserved = 0;
        this.#leave();
        options.onOtherVersion();
      },
    });
    lobby.post({ kind: 'who' });
  }

  get unanswered(): number {
    return this.#unanswered;
  }
  get unserved(): number {
    return this.#unserved;
  }
  /** Asks for a sign of life; counts how many were missed. */
  ping(): void {
    this.#unanswered++;
    this.#unserved++;
    if (this.#leader !== undefined && this.#isWelcome) this.#post({ kind: 'ping' });
    else this.#options.lobby.post({ kind: 'who' });
  }

  #heardOf({ leader, isServing }: Extract<LobbyMessage, { kind: 'leader' }>): void {
    this.#unanswered = 0;
    if (leader !== this.#leader) this.#leave();
    if (!isServing || this.#isWelcome) return;
    this.#leader = leader;
    this.#options.lobby.post({ kind: 'join', tab: this.#options.tab, leader });
  }
  #told(message: LeaderMessage): void {
    const { requests } = this.#options;
    // What a leader before answered is as good as ever; what else it told is not.
    const isAnswer = message.kind === 'event' && (message.event.kind === 'result' || message.event.kind === 'failure');
    if (message.leader !== this.#leader && !isAnswer) return;
    if (message.leader === this.#leader) {
      this.#unanswered = 0;
      this.#unserved = 0;
    }
    if (message.kind === 'event') requests.deliver(message.event, []);
    else if (message.kind === 'welcome' && !this.#isWelcome) {
      this.#isWelcome = true;
      requests.attach((request) => this.#post({ kind: 'request', request }));
    }
  }
  #post(
    message: { readonly kind: 'ping' | 'leave' } | { readonly kind: 'request'; readonly request: FollowerRequest },
  ): void {
    if (this.#leader === undefined) return;
    const addressed: FollowerMessage = { to: 'leader', leader: this.#leader, ...message };
    this.#channel.postMessage(addressed);
  }
  #leave(): void {
    if (this.#isWelcome) this.#options.requests.detach();
    this.#leader = undefined;
    this.#isWelcome = false;
  }

  /** The leader forgets this tab, which asks nothing more. */
  close(): void {
    if (this.#isWelcome) this.#post({ kind: 'leave' });
    this.#leave();
    this.#unlisten();
    this.#channel.close();
  }
}
