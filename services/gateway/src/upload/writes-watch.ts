import type { Clock, ProjectId } from '@sluice/domain';
import type { ServerMessage } from '@sluice/protocol';
import type { Uploads } from '@sluice/uploads';

type WritesMessage = Extract<ServerMessage, { type: 'writes' }>;

/** How soon it is asked again what nobody tells of: a source that was put right has writers again within seconds. */
const ASK_AGAIN_MS = { enabled: 15_000, 'read-only': 15_000, unavailable: 5000 } as const;
/** Nothing of the source is in the way, but that nobody could say: asking costs no connection of the tenant's. */
const ASK_SOON_MS = 1000;
const NOBODY_SAID: ReadonlySet<string> = new Set(['WRITES_BUSY', 'WRITES_NOT_SERVED']);

/** Whether a project's uploads are taken, for all of its sessions. */
export class WritesWatch {
  /** Undefined until the writer has answered for the first time. */
  current: WritesMessage | undefined;
  readonly #options: WritesWatchOptions;
  #isAsking = false;
  #askOnceMore = false;
  #isClosed = false;
  #cancelTimer: () => void = () => {};

  constructor(options: WritesWatchOptions) {
    this.#options = options;
    if (options.uploads) this.askAgain();
    else this.current = { type: 'writes', state: 'read-only', code: 'WRITES_NOT_SERVED' };
  }

  /** Something happened that may have changed the answer. */
  askAgain(): void {
    const { uploads } = this.#options;
    if (!uploads || this.#isClosed) return;
    if (this.#isAsking) this.#askOnceMore = true;
    else void this.#ask(uploads);
  }

  close(): void {
    this.#isClosed = true;
    this.#cancelTimer();
  }

  async #ask(uploads: Uploads): Promise<void> {
    const { clock, project, onFailure } = this.#options;
    this.#cancelTimer();
    this.#isAsking = true;
    try {
      this.#take({ type: 'writes', ...(await uploads.stateOf(project)) });
    } catch (error) {
      onFailure(error);
      this.#take({ type: 'writes', state: 'unavailable', code: 'WRITES_BUSY' });
    }
    this.#isAsking = false;
    if (this.#isClosed) return;
    if (this.#askOnceMore) {
      this.#askOnceMore = false;
      void this.#ask(uploads);
      return;
    }
    const { state, code } = this.current ?? { state: 'unavailable', code: '' };
    const pauseMs = state === 'unavailable' && NOBODY_SAID.has(code) ? ASK_SOON_MS : ASK_AGAIN_MS[state];
    this.#cancelTimer = clock.setTimer(pauseMs, () => this.askAgain());
  }

  #take(next: WritesMessage): void {
    const { current } = this;
    if (this.#isClosed || (current?.state === next.state && current.code === next.code)) return;
    this.current = next;
    this.#options.onChange(next);
  }
}

export interface WritesWatchOptions {
  /** Undefined where nothing takes uploads. */
  readonly uploads: Uploads | undefined;
  readonly project: ProjectId;
  readonly clock: Clock;
  readonly onChange: (message: WritesMessage) => void;
  readonly onFailure: (error: unknown) => void;
}
