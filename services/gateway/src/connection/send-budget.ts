export interface SendBudgetLimits {
  /** Bytes in the send buffers of the whole process. */
  readonly processBytesMax: number;
  readonly projectBytesMax: number;
  readonly sessionBytesMax: number;
}

/**
 * The part of what is still free that one buffer may take. Dynamic thresholds (Choudhury and Hahne, 1998): however many
 * clients stop reading, each holds less the more of them there are, and something is always left for those who read.
 */
const SHARE = 1 / 4;

/**
 * Whoever took everything gets one more message, also when others have used the budget up: else those who stopped reading
 * would stop those who read. Up to this many times the process's bound.
 */
const LAST_RESERVE = 2;

/** One session's bytes in the budget. */
export interface SendAccount {
  /** What stands in the session's send buffer now. */
  set(bytes: number): void;
  /** Whether more may be added. */
  readonly hasRoom: boolean;
  /** Calls `look` when others have made room; the returned function ends that. */
  whenOthersMakeRoom(look: () => void): () => void;
  close(): void;
}

/** Bounds outgoing bytes per session, per project and per process (L16). */
export class SendBudget {
  private readonly limits: SendBudgetLimits;
  private readonly bytesByProject = new Map<string, number>();
  private readonly lookers = new Set<() => void>();
  private isTelling = false;
  bytes = 0;
  /** The most that there ever was. */
  peakBytes = 0;

  constructor(limits: SendBudgetLimits) {
    this.limits = limits;
  }

  /** @param projectOf the session's project, once it has one */
  account(projectOf: () => string | undefined): SendAccount {
    let own = 0;
    let ownProject: string | undefined;
    const move = (bytes: number): void => {
      const project = ownProject ?? projectOf();
      if (project !== undefined) this.addTo(project, bytes - (ownProject === undefined ? 0 : own));
      ownProject = project;
      this.bytes += bytes - own;
      if (this.bytes > this.peakBytes) this.peakBytes = this.bytes;
      const isLess = bytes < own;
      own = bytes;
      if (isLess) this.tell();
    };
    const isAlive = (): boolean => this.bytes < this.limits.processBytesMax * LAST_RESERVE;
    const allowance = (): number => this.allowance(ownProject ?? projectOf());
    return {
      set(bytes) {
        if (bytes !== own) move(bytes);
      },
      get hasRoom() {
        return own === 0 ? isAlive() : own < allowance();
      },
      whenOthersMakeRoom: (look) => {
        this.lookers.add(look);
        return () => this.lookers.delete(look);
      },
      close: () => move(0),
    };
  }

  /** Bytes that a session of the project may have in its buffer and still add to it. */
  private allowance(project: string | undefined): number {
    const { processBytesMax, projectBytesMax, sessionBytesMax } = this.limits;
    const ofProject = project === undefined ? 0 : (this.bytesByProject.get(project) ?? 0);
    const free = Math.min(processBytesMax - this.bytes, projectBytesMax - ofProject);
    return Math.min(sessionBytesMax, free * SHARE);
  }

  private addTo(project: string, bytes: number): void {
    const sum = (this.bytesByProject.get(project) ?? 0) + bytes;
    if (sum > 0) this.bytesByProject.set(project, sum);
    else this.bytesByProject.delete(project);
  }

  /** Once a turn of the event loop, however many buffers were emptied in it; whoever waited longest looks first. */
  private tell(): void {
    if (this.isTelling || this.lookers.size === 0) return;
    this.isTelling = true;
    setImmediate(() => {
      this.isTelling = false;
      for (const look of [...this.lookers]) look();
    });
  }
}
