import { type Clock, delay } from '@sluice/domain';
import type { Member, Membership } from './port.ts';
import { inOrderOf, shareOf } from './share.ts';

export interface KeeperEvents {
  /** Members could not be asked; everything goes on as it is. */
  membersUnknown(error: unknown): void;
  /** What there is to hold could not be read; everything goes on as it is. */
  itemsUnknown(error: unknown): void;
  /** Work on the item ended by itself. */
  failed(item: string, error: unknown): void;
  /** The item is given up because others hold less. */
  givenUp(item: string): void;
}

export interface KeeperOptions {
  readonly membership: Membership;
  readonly clock: Clock;
  /** Everything that somebody should hold. Asked at each `look`, and every `itemsEveryMs`. */
  readonly items: () => Promise<readonly string[]>;
  /**
   * Waits for the item's lease, works under it, and waits for it again when it was lost; says each time whether it has it.
   * Resolves when aborted and the lease is given back. @throws what ended the work for now
   */
  readonly run: (item: string, onHeld: (isHeld: boolean) => void, signal: AbortSignal) => Promise<void>;
  readonly events: KeeperEvents;
  readonly timings?: Partial<KeeperTimings>;
}

/** Milliseconds. */
export interface KeeperTimings {
  readonly beatMs: number;
  readonly itemsEveryMs: number;
  /** Others must hold less than their share for this long before one of ours moves to them. */
  readonly settleMs: number;
  /** An item whose work ended by itself is let be for this long. */
  readonly restMs: number;
}
const TIMINGS: KeeperTimings = { beatMs: 1_000, itemsEveryMs: 5_000, settleMs: 3_000, restMs: 5_000 };
/** At most this share of what is too much moves with one beat, so that a newcomer does not stop everything at once. */
const MOVES_SHARE = 1 / 4;

/** Work on one item, from the wait for its lease to its end. */
interface Run {
  readonly controller: AbortController;
  ended: Promise<void>;
  isHeld: boolean;
  isStopping: boolean;
  /** How many works need it to stay here. */
  pins: number;
}

/** What came of work that needs an item's lease. */
export type Held<T> = { readonly kind: 'done'; readonly value: T } | { readonly kind: 'elsewhere' };

/**
 * Keeps this process's share of what all processes of its kind must hold. Takes what is free, waits for leases of the
 * dead, gives up what is too much, and everything when it is stopped. It moves nothing without need: what somebody holds
 * stays there while no other holds less than its share.
 */
export class Keeper {
  private readonly options: KeeperOptions;
  private readonly timings: KeeperTimings;
  private readonly runs = new Map<string, Run>();
  /** Items whose work failed, with the time from which they may be tried again. */
  private readonly restUntilMs = new Map<string, number>();
  private items: readonly string[] = [];
  private areItemsKnown = false;
  private itemsDueMs = Number.NEGATIVE_INFINITY;
  private members: readonly Member[] = [];
  private beatenMs = Number.NEGATIVE_INFINITY;
  /** Since when, with the same members, this one has held more than its share. */
  private surplus: { readonly members: string; readonly sinceMs: number } | undefined;
  private isLeaving = false;
  private isWoken = false;
  private wakeSleep = (): void => {};
  private readonly waiting = new Set<() => void>();

  constructor(options: KeeperOptions) {
    this.options = options;
    this.timings = { ...TIMINGS, ...options.timings };
  }

  /** What is held here now. */
  get held(): readonly string[] {
    return [...this.runs].filter(([, run]) => run.isHeld).map(([item]) => item);
  }

  /** Undefined while this process takes part, else why not; for readiness. */
  get notReady(): string | undefined {
    if (this.isLeaving) return 'draining';
    const ageMs = this.options.clock.monotonicMs() - this.beatenMs;
    if (ageMs > this.timings.beatMs * 5) return 'other members cannot be asked';
    return this.areItemsKnown ? undefined : 'what there is to hold is not known yet';
  }

  /** There may be more or less to hold. */
  look(): void {
    this.itemsDueMs = Number.NEGATIVE_INFINITY;
    this.wake();
  }

  /** Keeps this process's share until aborted; resolves when everything is given up. */
  async run(signal: AbortSignal): Promise<void> {
    const { membership, clock } = this.options;
    const unsubscribe = membership.onChange(() => this.wake());
    while (!signal.aborted) {
      this.isWoken = false;
      await this.beat();
      const woken = new AbortController();
      this.wakeSleep = () => woken.abort();
      if (!this.isWoken) await delay(clock, this.timings.beatMs, AbortSignal.any([signal, woken.signal]));
    }
    unsubscribe();
    this.isLeaving = true;
    this.tell();
    // Nobody counts on this one any more, and each item is announced as free as soon as it is.
    await this.ask();
    await Promise.all(
      [...this.runs.keys()].map(async (item) => {
        await this.stop(item);
        await this.ask();
      }),
    );
    await membership.close();
  }

  private wake(): void {
    this.isWoken = true;
    this.wakeSleep();
  }

  /**
   * Does work that needs the item's lease in this process, unless another member has it; asks for the lease whatever the
   * share. The signal is aborted when the lease is lost or given up.
   */
  async whileHeld<T>(item: string, work: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<Held<T>> {
    const isOver = (): boolean => signal.aborted || this.isLeaving;
    if (isOver() || this.isElsewhere(item)) return { kind: 'elsewhere' };
    const run = this.startRun(item);
    run.pins++;
    const stop = new AbortController();
    const watch = (): void => {
      if (!run.isHeld || run.isStopping) stop.abort();
    };
    try {
      while (!run.isHeld && !run.isStopping && !isOver() && !this.isElsewhere(item)) await this.changed(signal);
      if (!run.isHeld || run.isStopping || isOver()) return { kind: 'elsewhere' };
      this.waiting.add(watch);
      return { kind: 'done', value: await work(AbortSignal.any([signal, stop.signal])) };
    } finally {
      this.waiting.delete(watch);
      run.pins--;
    }
  }

  /** Ends work on an item that nobody shall hold any more; resolves when its lease is given back. */
  async drop(item: string): Promise<void> {
    this.items = this.items.filter((known) => known !== item);
    this.look();
    await this.stop(item);
  }

  /** Resolves when anything about runs or members has changed. */
  private changed(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        this.waiting.delete(done);
        signal.removeEventListener('abort', done);
        resolve();
      };
      this.waiting.add(done);
      signal.addEventListener('abort', done);
    });
  }
  private tell(): void {
    for (const listener of [...this.waiting]) listener();
  }

  private isElsewhere(item: string): boolean {
    return this.members.some(({ id, held }) => id !== this.options.membership.id && held.includes(item));
  }

  private async beat(): Promise<void> {
    await this.readItems();
    if (!(await this.ask())) return;
    const elsewhere = new Set(
      this.members.filter(({ id }) => id !== this.options.membership.id).flatMap(({ held }) => held),
    );
    this.endNeedless(elsewhere);
    this.takeOrGive(elsewhere);
    this.tell();
  }

  private async readItems(): Promise<void> {
    const { clock, items, events } = this.options;
    const nowMs = clock.monotonicMs();
    if (nowMs < this.itemsDueMs) return;
    // Set before the question, so that whoever asks for a look meanwhile gets another one.
    this.itemsDueMs = nowMs + this.timings.itemsEveryMs;
    try {
      this.items = await items();
      this.areItemsKnown = true;
    } catch (error) {
      this.itemsDueMs = nowMs + this.timings.beatMs;
      events.itemsUnknown(error);
    }
  }

  /** False when nobody could be asked: nothing is decided then. */
  private async ask(): Promise<boolean> {
    const { membership, clock, events } = this.options;
    try {
      this.members = await membership.beat({ isLeaving: this.isLeaving, held: this.held });
      this.beatenMs = clock.monotonicMs();
      return true;
    } catch (error) {
      events.membersUnknown(error);
      return false;
    }
  }

  /** Ends work on what is not to be held any more, and waits for leases that others have. */
  private endNeedless(elsewhere: ReadonlySet<string>): void {
    const wanted = new Set(this.items);
    for (const [item, run] of this.runs) {
      const isUnwanted = !wanted.has(item) && run.pins === 0;
      if (isUnwanted || (!run.isHeld && elsewhere.has(item))) void this.stop(item);
    }
  }

  private takeOrGive(elsewhere: ReadonlySet<string>): void {
    const { membership, clock } = this.options;
    const share = shareOf(membership.id, this.members, this.items.length);
    const going = [...this.runs].filter(([, run]) => !run.isStopping);
    if (going.length > share) {
      this.give(going, going.length - share);
      return;
    }
    this.surplus = undefined;
    const nowMs = clock.monotonicMs();
    const free = this.items.filter(
      (item) => !elsewhere.has(item) && !this.runs.has(item) && (this.restUntilMs.get(item) ?? nowMs) <= nowMs,
    );
    for (const item of inOrderOf(membership.id, free).slice(0, share - going.length)) this.startRun(item);
  }

  private give(going: readonly (readonly [string, Run])[], tooMany: number): void {
    const waits = going.filter(([, run]) => !run.isHeld && run.pins === 0).slice(0, tooMany);
    for (const [item] of waits) void this.stop(item);
    const left = tooMany - waits.length;
    const nowMs = this.options.clock.monotonicMs();
    const members = this.members.map(({ id, isLeaving }) => `${id} ${isLeaving}`).join();
    if (this.surplus?.members !== members) this.surplus = { members, sinceMs: nowMs };
    if (left <= 0 || nowMs - this.surplus.sinceMs < this.timings.settleMs) return;
    const held = going.filter(([, run]) => run.isHeld && run.pins === 0);
    for (const [item] of held.slice(0, Math.ceil(left * MOVES_SHARE))) {
      this.options.events.givenUp(item);
      void this.stop(item);
    }
  }

  private startRun(item: string): Run {
    const known = this.runs.get(item);
    if (known) return known;
    const run: Run = {
      controller: new AbortController(),
      ended: Promise.resolve(),
      isHeld: false,
      isStopping: false,
      pins: 0,
    };
    this.runs.set(item, run);
    this.restUntilMs.delete(item);
    run.ended = this.work(item, run);
    return run;
  }

  private async work(item: string, run: Run): Promise<void> {
    const { clock, events } = this.options;
    const { signal } = run.controller;
    const onHeld = (isHeld: boolean): void => {
      run.isHeld = isHeld;
      this.tell();
      this.wake();
    };
    try {
      await this.options.run(item, onHeld, signal);
    } catch (error) {
      if (!signal.aborted) {
        this.restUntilMs.set(item, clock.monotonicMs() + this.timings.restMs);
        events.failed(item, error);
      }
    }
    this.runs.delete(item);
    run.isHeld = false;
    run.isStopping = true;
    this.tell();
    // The others learn at once that it is free.
    this.wake();
  }

  private async stop(item: string): Promise<void> {
    const run = this.runs.get(item);
    if (!run) return;
    run.isStopping = true;
    run.controller.abort();
    this.tell();
    await run.ended;
  }
}
