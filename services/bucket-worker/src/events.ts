import type { Epoch, ProjectId } from '@sluice/domain';
import { formatLsn, formatPosition } from '@sluice/domain';
import type { StreamFrame } from '@sluice/op-queue';
import type { Logger, Metrics } from '@sluice/telemetry';
import type { EvaluatedFrame } from './apply/frame-evaluator.ts';

/** Each business event's counter and log record, together. */
export interface WorkerEvents {
  applied(frame: StreamFrame, evaluated: EvaluatedFrame, commitMs: number): void;
  refused(project: ProjectId, frame: StreamFrame): void;
  fenced(project: ProjectId, epoch: Epoch): void;
  storeUnavailable(project: ProjectId, error: unknown, retryInMs: number): void;
}

export function createWorkerEvents(logger: Logger, metrics: Metrics | undefined): WorkerEvents {
  void metrics;
  return {
    applied(frame, evaluated, durationMs) {
      logger.debug('frame applied', {
        projectId: frame.project,
        position: formatPosition(frame.end),
        count: evaluated.chunks.length,
        bytes: frame.changes.length,
        durationMs,
      });
    },
    refused(projectId, frame) {
      logger.info('frame refused', { projectId, lsn: formatLsn(frame.prev.lsn) });
    },
    fenced(projectId, epoch) {
      logger.warn('fenced', { projectId, epoch });
    },
    storeUnavailable(projectId, error, retryInMs) {
      logger.warn('bucket store unavailable', { projectId, error, retryInMs });
    },
  };
}
