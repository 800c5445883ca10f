import { randomUUID } from 'node:crypto';
import type { BucketStore } from '@sluice/bucket-store';
import { type Clock, delay, type ProjectId } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import type { Logger, Metrics } from '@sluice/telemetry';
import { type CompactionMemory, type CompactionSettings, compactProject } from './compact/compact-project.ts';
import type { CompactionStep } from './compact/compact-stream.ts';
import { type HousekeepingEvents, housekeepingEvents } from './housekeeping-events.ts';
import { eraseDropped } from './retain/erase-dropped.ts';

const DAY_MS = 86_400_000;

export interface HousekeepingSettings extends Omit<CompactionSettings, 'holder'> {
  /** From the end of one round over all projects to the next. Milliseconds. */
  readonly roundMs: number;
  /** Work on one project in one round; what is left goes on in the next. Milliseconds. */
  readonly budgetMs: number;
  /** How often the store is asked to give space back. Milliseconds. */
  readonly giveBackMs: number;
  /** Share of the time that it works at most, so that applying and serving in the same process go first. */
  readonly share: number;
}
export const defaultHousekeeping: HousekeepingSettings = {
  retentionMs: 30 * DAY_MS,
  readableMs: 5 * 60_000,
  bucketsMax: 1000,
  bytesMax: 1024 * 1024,
  roundMs: 60_000,
  budgetMs: 5000,
  giveBackMs: 10 * 60_000,
  share: 0.25,
};

export interface HousekeeperOptions {
  readonly store: BucketStore;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics?: Metrics | undefined;
  /** The projects that this process looks after; two processes with one project take turns. */
  readonly projects: () => Promise<readonly ProjectId[]> | readonly ProjectId[];
  /** What is left out is as in `defaultHousekeeping`. */
  readonly settings?: Partial<HousekeepingSettings>;
}
export interface Housekeeper {
  /** Compacts and erases in the background until the signal is aborted; resolves when nothing is under way. */
  run(signal: AbortSignal): Promise<void>;
}

/** Joins compact (fold what nobody needs) and retain (erase what was dropped), one project at a time in small steps. */
export function createHousekeeper(options: HousekeeperOptions): Housekeeper {
  return new Rounds(options);
}

interface Work {
  readonly memory: CompactionMemory;
  /** A pass that its budget cut off. */
  pass: AsyncGenerator<CompactionStep | undefined> | undefined;
  isBroken: boolean;
}

class Rounds implements Housekeeper {
  private readonly options: HousekeeperOptions;
  private readonly settings: HousekeepingSettings;
  private readonly events: HousekeepingEvents;
  private readonly holder = `bucket-worker:${randomUUID()}`;
  private gaveBackMs: number;
  private readonly workByProject = new Map<ProjectId, Work>();

  constructor(options: HousekeeperOptions) {
    this.options = options;
    this.settings = { ...defaultHousekeeping, ...options.settings };
    this.events = housekeepingEvents(options.logger, options.metrics);
    this.gaveBackMs = options.clock.monotonicMs();
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, projects } = this.options;
    while (!signal.aborted) {
      const present = await Promise.resolve(projects()).catch(() => []);
      await this.forgetAllBut(new Set(present));
      for (const project of present) if (!signal.aborted) await this.lookAfter(project, signal);
      if (!signal.aborted) await this.giveBackSpace(signal);
      await delay(clock, this.settings.roundMs, signal);
    }
    await this.forgetAllBut(new Set());
  }

  private async giveBackSpace(signal: AbortSignal): Promise<void> {
    const { clock, store } = this.options;
    const nowMs = clock.monotonicMs();
    if (nowMs - this.gaveBackMs < this.settings.giveBackMs) return;
    this.gaveBackMs = nowMs;
    try {
      this.events.gaveBack(await store.giveBackSpace(signal));
    } catch (error) {
      this.events.keptSpace(error);
    }
  }

  private async forgetAllBut(present: ReadonlySet<ProjectId>): Promise<void> {
    for (const [project, work] of this.workByProject) {
      if (present.has(project)) continue;
      this.workByProject.delete(project);
      // Gives the lease back; a store that does not answer lets it expire.
      await work.pass?.return(undefined).catch(() => {});
    }
  }

  private async lookAfter(project: ProjectId, signal: AbortSignal): Promise<void> {
    const work = this.workOf(project);
    if (work.isBroken) return;
    try {
      await this.spend(project, work, signal);
    } catch (error) {
      work.pass = undefined;
      work.isBroken = !(error instanceof AppError);
      if (work.isBroken) this.events.gaveUp(project, error);
      else this.events.failed(project, error);
    }
  }

  private workOf(project: ProjectId): Work {
    const known = this.workByProject.get(project);
    if (known) return known;
    const work: Work = { memory: { thoroughAt: undefined }, pass: undefined, isBroken: false };
    this.workByProject.set(project, work);
    return work;
  }

  private async spend(project: ProjectId, work: Work, signal: AbortSignal): Promise<void> {
    const { clock } = this.options;
    const { budgetMs, share } = this.settings;
    let spentMs = 0;
    work.pass ??= this.passOf(project, work.memory);
    while (spentMs < budgetMs && !signal.aborted) {
      const startedMs = clock.monotonicMs();
      const { done, value } = await work.pass.next();
      if (done) {
        work.pass = undefined;
        return;
      }
      if (value) this.events.step(value);
      const tookMs = clock.monotonicMs() - startedMs;
      spentMs += tookMs;
      await delay(clock, tookMs * (1 / share - 1), signal);
    }
  }

  private async *passOf(project: ProjectId, memory: CompactionMemory): AsyncGenerator<CompactionStep | undefined> {
    const { store, clock } = this.options;
    for await (const _ of eraseDropped(store, project)) yield undefined;
    yield* compactProject({ store, clock, project }, { ...this.settings, holder: this.holder }, memory);
  }
}
