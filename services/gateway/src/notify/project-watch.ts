import type { SourceRecord } from '@sluice/bucket-store';
import {
  type Checkpoint,
  type Clock,
  compareCheckpoints,
  type Lsn,
  type ProjectId,
  type StreamNo,
} from '@sluice/domain';
import type { WakeUp, WakeUps } from '@sluice/op-queue';
import type { Served, ServedStream, SourceMessage, Step, StoreReads } from '../model.ts';
import { generationsOf, isSameGenerations, servedAt } from './served.ts';
import { type Changes, ShardChanges } from './shard-changes.ts';
import { Subscribers } from './subscribers.ts';

/** Announcements kept while the streams are read; dropping one only costs a full look. */
const WAITING_MAX = 256;

type CheckpointNews = Extract<WakeUp, { kind: 'checkpoint' }>;

export interface WatchOptions {
  readonly project: ProjectId;
  readonly store: StoreReads;
  readonly wakeUps: WakeUps;
  readonly clock: Clock;
  /** How often to look without being woken: what a lost wake-up costs. */
  readonly pollMs: number;
  /** The same while the project has no checkpoint yet, for the progress of its first load. */
  readonly loadingPollMs: number;
  /** How much later than the poll that saw a checkpoint its wake-up may come before it counts as lost. */
  readonly graceMs: number;
  /** Called before sessions wake. */
  readonly onStep: (step: Step) => void;
  readonly onGap: (lsn: Checkpoint['lsn']) => void;
  /** The source's state changed. */
  readonly onSource: (source: SourceMessage) => void;
  /** Settings of the project changed. */
  readonly onProjectChanged: () => void;
  readonly onFailure: (error: unknown) => void;
}

/**
 * What one project serves now, and who must hear of the next checkpoint. One subscription on the wake-ups, whatever the
 * number of sessions. Wake-ups are hints: a poll finds what they did not say, and then everybody looks at everything.
 */
export class ProjectWatch {
  readonly subscribers = new Subscribers();
  served: Served | undefined;
  source: SourceMessage | undefined;
  private readonly options: WatchOptions;
  private readonly stopListening: () => void;
  private cancelTimer: () => void = () => {};
  private isClosed = false;
  private refreshing: Promise<void> | undefined;
  private refreshAgain = false;
  /** The checkpoint for which the streams were last read: they change at checkpoints alone. */
  private streamsReadAt: Lsn | undefined;
  /** Checkpoints that were announced while the streams were being read. */
  private waiting: CheckpointNews[] = [];
  private readonly changes = new ShardChanges();

  constructor(options: WatchOptions) {
    this.options = options;
    this.stopListening = options.wakeUps.subscribe(options.project, (wakeUp) => this.hear(wakeUp));
    void this.refresh().then(() => this.schedulePoll());
  }

  close(): void {
    this.isClosed = true;
    this.stopListening();
    this.cancelTimer();
  }

  /**
   * Reads checkpoint, streams and source again. Streams are read after the checkpoint: a switch of streams takes effect
   * strictly above every checkpoint that was readable before it, so what is read then is right for that checkpoint.
   */
  refresh(): Promise<void> {
    if (this.refreshing) {
      this.refreshAgain = true;
      return this.refreshing;
    }
    this.refreshing = this.refreshUntilCurrent().finally(() => {
      this.refreshing = undefined;
      const news = this.waiting;
      this.waiting = [];
      for (const wakeUp of news) this.onCheckpoint(wakeUp);
    });
    return this.refreshing;
  }

  private async refreshUntilCurrent(): Promise<void> {
    const { store, project } = this.options;
    do {
      this.refreshAgain = false;
      try {
        const source = await store.readSource(project);
        const checkpoint = source?.serving?.checkpoint;
        const records = checkpoint ? await store.readStreams(project) : [];
        if (this.isClosed) return;
        this.adoptSource(source);
        if (!checkpoint) continue;
        this.adopt(checkpoint, generationsOf(records, checkpoint.epoch));
        this.streamsReadAt = checkpoint.lsn;
      } catch (error) {
        this.fail(error);
        return;
      }
    } while (this.refreshAgain);
  }

  private adopt(checkpoint: Checkpoint, generations: readonly ServedStream[]): void {
    const before = this.served;
    const newest = before && compareCheckpoints(checkpoint, before.checkpoint) < 0 ? before.checkpoint : checkpoint;
    if (newest.epoch !== checkpoint.epoch) return;
    this.served = servedAt(this.options.project, newest, generations, before);
    if (before && compareCheckpoints(newest, before.checkpoint) === 0 && this.served.streams === before.streams) return;
    this.options.onGap(newest.lsn);
    this.subscribers.recordGap(newest.lsn);
    this.subscribers.wakeAll();
  }

  private hear(wakeUp: WakeUp): void {
    switch (wakeUp.kind) {
      case 'checkpoint':
        if (!this.refreshing) this.onCheckpoint(wakeUp);
        else if (this.waiting.push(wakeUp) > WAITING_MAX) this.waiting.shift();
        break;
      case 'changed':
        this.changes.note(wakeUp);
        break;
      case 'streams':
        void this.refresh();
        break;
      case 'project':
        void this.refresh();
        this.options.onProjectChanged();
        break;
      default:
        break;
    }
  }

  private onCheckpoint(news: CheckpointNews): void {
    if (this.isClosed) return;
    const before = this.served;
    // A new epoch brings other streams, and the first checkpoint of all has none before it.
    if (!before || news.checkpoint.epoch > before.checkpoint.epoch) {
      void this.refresh();
      return;
    }
    if (compareCheckpoints(news.checkpoint, before.checkpoint) <= 0) return;
    const { lsn } = news.checkpoint;
    if (!isServable(before.streams, news.inUse)) {
      void this.refresh();
      return;
    }
    const changes = this.changesOf(news, before.checkpoint.lsn);
    const served = servedAt(this.options.project, news.checkpoint, before.generations, before);
    this.served = served;
    if (changes === undefined || served.streams !== before.streams) {
      this.options.onGap(lsn);
      this.subscribers.recordGap(lsn);
      this.subscribers.wakeAll();
      return;
    }
    const step: Step = { after: before.checkpoint.lsn, lsn, ...changes };
    this.options.onStep(step);
    this.subscribers.record(step);
    this.subscribers.wakeAffected(step);
  }

  /** What changed since `after`; undefined when that was not told in full. */
  private changesOf(news: CheckpointNews, after: Lsn): Changes | undefined {
    const { epoch, lsn } = news.checkpoint;
    if (news.shards > 1) return this.changes.take(epoch, news.shards, { after, through: lsn });
    if (news.previousLsn > after) return undefined;
    return { buckets: new Set(news.buckets), lookups: new Set(news.lookups), truncated: new Set(news.truncated) };
  }

  private schedulePoll(): void {
    if (this.isClosed) return;
    const { clock, pollMs, loadingPollMs } = this.options;
    this.cancelTimer = clock.setTimer(this.served ? pollMs : loadingPollMs, () => {
      void this.poll().then(() => this.schedulePoll());
    });
  }

  private async poll(): Promise<void> {
    const { store, project } = this.options;
    try {
      const source = await store.readSource(project);
      if (this.isClosed) return;
      this.adoptSource(source);
      const seen = source?.serving?.checkpoint;
      if (!seen) return;
      const isMissed = this.isNews(seen) && !(await this.comesInTime(seen));
      if (!this.isClosed && (isMissed || (await this.hasOtherStreams()))) await this.refresh();
    } catch (error) {
      this.fail(error);
    }
  }

  /** Whether the wake-up for a checkpoint that was seen in the store was only a little later. */
  private async comesInTime(seen: Checkpoint): Promise<boolean> {
    if (!this.served) return false;
    const { clock, graceMs } = this.options;
    await new Promise<void>((resolve) => {
      this.cancelTimer = clock.setTimer(graceMs, resolve);
    });
    return !this.isNews(seen);
  }

  /** Whether a wake-up about the streams was lost. Only a checkpoint above the last reading can make it matter. */
  private async hasOtherStreams(): Promise<boolean> {
    const { served } = this;
    if (!served || this.refreshing || this.streamsReadAt === served.checkpoint.lsn) return false;
    const records = await this.options.store.readStreams(this.options.project);
    this.streamsReadAt = served.checkpoint.lsn;
    return !isSameGenerations(served.generations, generationsOf(records, served.checkpoint.epoch));
  }

  private isNews(checkpoint: Checkpoint): boolean {
    return !this.served || compareCheckpoints(checkpoint, this.served.checkpoint) > 0;
  }

  private adoptSource(record: SourceRecord | undefined): void {
    const condition = record?.condition;
    const isLoading = !record?.serving?.checkpoint;
    this.setSource({
      type: 'source',
      state: condition ? (isLoading && condition.state === 'live' ? 'loading' : condition.state) : 'loading',
      code: condition?.code ?? '',
      rowsDone: condition?.rowsDone ?? 0,
      rowsEstimate: condition?.rowsEstimate ?? 0,
    });
  }

  private fail(error: unknown): void {
    if (this.isClosed) return;
    this.options.onFailure(error);
    // Clients keep their last checkpoint and learn that nothing newer can come for now.
    this.setSource({ type: 'source', state: 'stalled', code: 'STORE_UNAVAILABLE', rowsDone: 0, rowsEstimate: 0 });
  }

  private setSource(source: SourceMessage): void {
    const before = this.source;
    this.source = source;
    const isSame =
      before?.state === source.state &&
      before.code === source.code &&
      before.rowsDone === source.rowsDone &&
      before.rowsEstimate === source.rowsEstimate;
    if (!isSame) this.options.onSource(source);
  }
}

/**
 * L11: whether none of the streams that are served was dropped. What tells of a switch may be lost, and reading the streams may have
 * failed: a checkpoint above the switch must not be shown with what a dropped stream was.
 */
function isServable(served: readonly ServedStream[], inUse: readonly StreamNo[] | undefined): boolean {
  return inUse !== undefined && served.every(({ stream }) => inUse.includes(stream));
}
