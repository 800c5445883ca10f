import { AppError } from '@sluice/errors';
import type { StreamPlan } from '@sluice/sync-rules';
import type { AuditReport } from './audit.ts';

export interface DeployProgress {
  readonly step: 'publication' | 'slot' | 'snapshot' | 'live';
  readonly rowsDone: number;
  readonly rowsEstimate: number;
}

/** A wanted set of streams. `settle` is called exactly once. */
export interface DeployJob {
  readonly kind: 'deploy';
  readonly plans: readonly StreamPlan[];
  readonly rulesVersion: number;
  readonly onProgress: (progress: DeployProgress) => void;
  settle(error?: unknown): void;
}
/** A table may have changed: the deployed rules are compiled again, and deployed if they mean something else. */
export interface ReconcileJob {
  readonly kind: 'reconcile';
}
/** The buckets are compared with the source. `settle` is called exactly once. */
export interface AuditJob {
  readonly kind: 'audit';
  settle(outcome: { readonly report: AuditReport } | { readonly error: unknown }): void;
}
/** Rows are to be divided among another number of shards. `settle` is called exactly once. */
export interface ReshardJob {
  readonly kind: 'reshard';
  readonly shards: number;
  settle(error?: unknown): void;
}
export type Job = DeployJob | ReshardJob | ReconcileJob | AuditJob;

/** Deployments of one project wait for each other here, in order. */
export class DeployJobs {
  private readonly deploys: DeployJob[] = [];
  private readonly audits: AuditJob[] = [];
  private readonly reshards: ReshardJob[] = [];
  private isTouched = false;
  private wake = (): void => {};

  /**
   * Resolves when the streams are live. Aborted, it is no longer asked for: it is not begun, and nobody waits for what has
   * begun. @throws what kept them from it
   */
  request(job: Pick<DeployJob, 'plans' | 'rulesVersion' | 'onProgress'>, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const { plans, rulesVersion, onProgress } = job;
      const deploy: DeployJob = {
        kind: 'deploy',
        plans,
        rulesVersion,
        onProgress,
        settle: (error) => {
          const index = this.deploys.indexOf(deploy);
          if (index >= 0) this.deploys.splice(index, 1);
          if (error === undefined) resolve();
          else reject(error);
        },
      };
      const withdraw = (): void => deploy.settle(new AppError('REPLICATOR_STOPPED'));
      if (signal?.aborted) {
        withdraw();
        return;
      }
      signal?.addEventListener('abort', withdraw, { once: true });
      this.deploys.push(deploy);
      this.wake();
    });
  }

  /** Resolves to what the next comparison finds; it is done once the project is followed and nothing else is asked for. */
  requestAudit(signal?: AbortSignal): Promise<AuditReport> {
    return new Promise((resolve, reject) => {
      const audit: AuditJob = {
        kind: 'audit',
        settle: (outcome) => {
          const index = this.audits.indexOf(audit);
          if (index >= 0) this.audits.splice(index, 1);
          if ('report' in outcome) resolve(outcome.report);
          else reject(outcome.error);
        },
      };
      const withdraw = (): void => audit.settle({ error: new AppError('REPLICATOR_STOPPED') });
      if (signal?.aborted) {
        withdraw();
        return;
      }
      signal?.addEventListener('abort', withdraw, { once: true });
      this.audits.push(audit);
      this.wake();
    });
  }

  /** Resolves when rows are divided among so many shards. Aborted, nobody waits for it. @throws what kept them from it */
  reshard(shards: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const job: ReshardJob = {
        kind: 'reshard',
        shards,
        settle: (error) => {
          const index = this.reshards.indexOf(job);
          if (index >= 0) this.reshards.splice(index, 1);
          if (error === undefined) resolve();
          else reject(error);
        },
      };
      const withdraw = (): void => job.settle(new AppError('REPLICATOR_STOPPED'));
      if (signal?.aborted) {
        withdraw();
        return;
      }
      signal?.addEventListener('abort', withdraw, { once: true });
      this.reshards.push(job);
      this.wake();
    });
  }

  /** Nothing will be done any more: whoever waits is told so. */
  close(): void {
    for (const job of [...this.deploys, ...this.reshards]) job.settle(new AppError('REPLICATOR_STOPPED'));
    for (const job of [...this.audits]) job.settle({ error: new AppError('REPLICATOR_STOPPED') });
  }

  /** Asks for one reconciliation, however often it is called before that runs. */
  touch(): void {
    this.isTouched = true;
    this.wake();
  }

  /** The job to do now; a deploy stays first until it is settled. */
  get first(): DeployJob | undefined {
    return this.deploys[0];
  }

  /** Waits for something to do; undefined when aborted. Audits only where there is something to compare. */
  async next(signal: AbortSignal): Promise<DeployJob | ReconcileJob | undefined>;
  async next(signal: AbortSignal, takesAudits: true): Promise<Job | undefined>;
  async next(signal: AbortSignal, takesAudits = false): Promise<Job | undefined> {
    while (!signal.aborted) {
      if (this.first) return this.first;
      if (this.isTouched) {
        this.isTouched = false;
        return { kind: 'reconcile' };
      }
      if (takesAudits && this.reshards[0]) return this.reshards[0];
      if (takesAudits && this.audits[0]) return this.audits[0];
      await new Promise<void>((resolve) => {
        this.wake = resolve;
        signal.addEventListener('abort', () => resolve(), { once: true });
      });
    }
    return undefined;
  }
}
