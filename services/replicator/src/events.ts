import { type Epoch, formatLsn, type Lsn, type ProjectId } from '@sluice/domain';
import { isAppError } from '@sluice/errors';
import type { Logger } from '@sluice/telemetry';

/** Each business event with its log record. */
export interface ReplicatorEvents {
  leaseTaken(projectId: ProjectId): void;
  leaseLost(projectId: ProjectId): void;
  streaming(projectId: ProjectId, epoch: Epoch, lsn: Lsn): void;
  retrying(projectId: ProjectId, error: unknown, retryInMs: number): void;
  stopped(projectId: ProjectId, error: unknown): void;
  epochOpened(projectId: ProjectId, epoch: Epoch, reason: string): void;
  copied(projectId: ProjectId, table: string, rows: number, durationMs: number): void;
  copyResumed(projectId: ProjectId, epoch: Epoch, ranges: { readonly done: number; readonly left: number }): void;
  switched(projectId: ProjectId, epoch: Epoch): void;
  /** Of so many streams that were compared with the source, so many differed and were replaced. */
  audited(projectId: ProjectId, streams: number, differing: number): void;
  auditFailed(projectId: ProjectId, error: unknown): void;
  resharded(projectId: ProjectId, map: { readonly shards: number; readonly version: number }): void;
  rowsLeftOut(projectId: ProjectId, table: string, count: number): void;
  lag(projectId: ProjectId, lagBytes: number): void;
  walBudgetLow(projectId: ProjectId, lagBytes: number): void;
}

export function createReplicatorEvents(logger: Logger): ReplicatorEvents {
  const codeOf = (error: unknown): string | undefined => (isAppError(error) ? error.code : undefined);
  return {
    leaseTaken: (projectId) => logger.info('lease taken', { projectId }),
    leaseLost: (projectId) => logger.warn('lease lost', { projectId }),
    streaming: (projectId, epoch, lsn) => logger.info('streaming', { projectId, epoch, lsn: formatLsn(lsn) }),
    retrying: (projectId, error, retryInMs) =>
      logger.warn('source failed, trying again', { projectId, error, retryInMs, code: codeOf(error) }),
    stopped: (projectId, error) => logger.error('project stopped', { projectId, error, code: codeOf(error) }),
    epochOpened: (projectId, epoch, reason) => logger.info('epoch opened', { projectId, epoch, reason }),
    copied: (projectId, table, rows, durationMs) => logger.info('range copied', { projectId, table, rows, durationMs }),
    copyResumed: (projectId, epoch, { done, left }) =>
      logger.info('copy resumed', { projectId, epoch, rangesDone: done, rangesLeft: left }),
    switched: (projectId, epoch) => logger.info('streams switched', { projectId, epoch }),
    audited: (projectId, streams, differing) => {
      if (differing === 0) logger.info('buckets equal the source', { projectId, count: streams });
      else logger.error('buckets differed from the source', { projectId, count: differing, code: 'STREAM_DIFFERED' });
    },
    auditFailed: (projectId, error) =>
      logger.warn('comparison with the source failed', { projectId, error, code: codeOf(error) }),
    resharded: (projectId, { shards, version }) =>
      logger.info('rows divided anew', { projectId, count: shards, version }),
    rowsLeftOut: (projectId, table, count) => logger.warn('rows left out', { projectId, table, count }),
    lag: (projectId, lagBytes) => logger.debug('slot', { projectId, lagBytes }),
    walBudgetLow: (projectId, lagBytes) => logger.error('wal budget low', { projectId, lagBytes }),
  };
}
