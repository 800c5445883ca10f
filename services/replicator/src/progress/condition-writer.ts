import type { BucketStore, SourceCondition } from '@sluice/bucket-store';
import type { Clock, LeaseToken, ProjectId } from '@sluice/domain';
import type { CopyStatus } from '../copy-progress.ts';

/** Progress is written at most this often. */
const progressIntervalMs = 500;

const LIVE: SourceCondition = { state: 'live', code: '', details: {}, rowsDone: 0, rowsEstimate: 0 };

/**
 * Writes how a source is doing, once per change. What it is doing (live, loading) stays known while a lost connection covers it.
 */
export class ConditionWriter {
  private readonly store: BucketStore;
  private readonly clock: Clock;
  private readonly project: ProjectId;
  private readonly token: LeaseToken;
  private base: SourceCondition = LIVE;
  private written = '';
  private progressAtMs = 0;

  constructor(options: {
    readonly store: BucketStore;
    readonly clock: Clock;
    readonly project: ProjectId;
    readonly token: LeaseToken;
  }) {
    this.store = options.store;
    this.clock = options.clock;
    this.project = options.project;
    this.token = options.token;
  }

  get isLoading(): boolean {
    return this.base.state === 'loading';
  }

  isWarned(code: string): boolean {
    return this.base.state === 'live' && this.base.code === code;
  }

  live(): Promise<void> {
    this.base = LIVE;
    return this.write(LIVE);
  }
  /** @param code why everything is being copied, or empty for the first time */
  loading(code: string, details: SourceCondition['details'] = {}): Promise<void> {
    this.base = { state: 'loading', code, details, rowsDone: 0, rowsEstimate: 0 };
    return this.write(this.base);
  }
  async progress(status: CopyStatus): Promise<void> {
    if (this.base.state !== 'loading') return;
    const { rowsDone, rowsEstimate, bytesDone, bytesEstimate, secondsLeft } = status;
    const { secondsLeft: _, ...before } = this.base.details;
    const details = { ...before, bytesDone, bytesEstimate, ...(secondsLeft === undefined ? {} : { secondsLeft }) };
    this.base = { ...this.base, details, rowsDone, rowsEstimate };
    const nowMs = this.clock.monotonicMs();
    if (nowMs - this.progressAtMs < progressIntervalMs) return;
    this.progressAtMs = nowMs;
    await this.write(this.base);
  }
  /** It goes on, but not with everything. */
  warn(code: string, details: SourceCondition['details']): Promise<void> {
    this.base = { ...this.base, code, details };
    return this.write(this.base);
  }
  /** The source cannot be reached, or a person is needed; `resumed` ends it. */
  interrupted(state: 'stalled' | 'stopped', code: string, details: SourceCondition['details'] = {}): Promise<void> {
    return this.write({ ...this.base, state, code, details });
  }
  resumed(): Promise<void> {
    return this.write(this.base);
  }

  private async write(condition: SourceCondition): Promise<void> {
    const text = JSON.stringify(condition);
    if (text === this.written) return;
    this.written = text;
    await this.store.setSourceState(this.project, this.token, condition);
  }
}
