/** Whose turn it is: turns go round among groups, and within a group round among its members. */
export interface TurnKey {
  /** The tenant: a project. */
  readonly group: string;
  /** Compared by identity: a session, or whatever stands for one. */
  readonly member: object;
}
export interface TurnLimits {
  /** Pieces of work that run at the same time. */
  readonly atOnceMax: number;
  /** Of one group; what is free beyond it waits for others. */
  readonly atOncePerGroupMax: number;
}

type Grant = () => void;
/** Members that wait, in the order of their next turn; a Map keeps it. */
type Group = Map<object, Grant[]>;

/**
 * Shares a scarce thing among tenants, and among the sessions of each (L16): work is done in slices, each slice asks for
 * a turn, and turns are given round robin (deficit-free, since slices are of bounded size; Nagle, RFC 970, 1985). However
 * much one tenant has to do, another waits for one slice of it per place at most.
 */
export class FairTurns {
  /** Turns given so far, for tests and metrics. */
  given = 0;
  private readonly limits: TurnLimits;
  private readonly waiting = new Map<string, Group>();
  private readonly runningByGroup = new Map<string, number>();
  private running = 0;

  constructor(limits: TurnLimits) {
    this.limits = limits;
  }

  get waitingCount(): number {
    let count = 0;
    for (const group of this.waiting.values()) for (const grants of group.values()) count += grants.length;
    return count;
  }

  /** Runs one slice when it is its turn. */
  async run<T>({ group, member }: TurnKey, slice: () => Promise<T>): Promise<T> {
    if (this.hasRoomFor(group) && !this.waiting.has(group)) this.begin(group);
    else await new Promise<void>((grant) => this.wait(group, member, grant));
    try {
      return await slice();
    } finally {
      this.end(group);
    }
  }

  private hasRoomFor(group: string): boolean {
    const { atOnceMax, atOncePerGroupMax } = this.limits;
    return this.running < atOnceMax && (this.runningByGroup.get(group) ?? 0) < atOncePerGroupMax;
  }

  private begin(group: string): void {
    this.running++;
    this.given++;
    this.runningByGroup.set(group, (this.runningByGroup.get(group) ?? 0) + 1);
  }

  private end(group: string): void {
    this.running--;
    const left = (this.runningByGroup.get(group) ?? 1) - 1;
    if (left > 0) this.runningByGroup.set(group, left);
    else this.runningByGroup.delete(group);
    this.giveNext();
  }

  private wait(name: string, member: object, grant: Grant): void {
    const group = this.waiting.get(name) ?? new Map<object, Grant[]>();
    this.waiting.set(name, group);
    const grants = group.get(member);
    if (grants) grants.push(grant);
    else group.set(member, [grant]);
  }

  /** The first group that may have a turn gets it and goes to the end of the line, its member likewise. */
  private giveNext(): void {
    for (const [name, group] of this.waiting) {
      if (!this.hasRoomFor(name)) continue;
      const [first] = group;
      if (!first) continue;
      const [member, grants] = first;
      const grant = grants.shift();
      group.delete(member);
      if (grants.length > 0) group.set(member, grants);
      this.waiting.delete(name);
      if (group.size > 0) this.waiting.set(name, group);
      this.begin(name);
      grant?.();
      return;
    }
  }
}

/** Lets everything else that is due have its turn of the event loop: between slices of work that hold the processor. */
export function breath(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
