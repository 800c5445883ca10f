import type { ProjectId } from '@sluice/domain';
import type { AppError, Code } from '@sluice/errors';
import { type Logger, latencyBuckets, type Metrics } from '@sluice/telemetry';
import type { UploadAnswer } from '@sluice/uploads';

/** Each business event of the writer: its log record and its metric together. */
export interface WriterEvents {
  answered(project: ProjectId, answer: UploadAnswer, durationMs: number): void;
  refused(project: ProjectId, code: Code): void;
  attemptLost(project: ProjectId, sqlstate: string | undefined): void;
  failed(project: ProjectId, error: AppError): void;
}

/** Without `metrics` events are only logged. */
export function writerEvents(logger: Logger, metrics: Metrics | undefined): WriterEvents {
  const uploads = metrics?.counter({
    name: 'sluice_writer_uploads_total',
    help: 'Uploads answered, by result',
    labels: ['result'],
  });
  const refusals = metrics?.counter({
    name: 'sluice_writer_refusals_total',
    help: 'Uploads recorded as refused, by code',
    labels: ['code'],
  });
  const lost = metrics?.counter({
    name: 'sluice_writer_attempts_lost_total',
    help: 'Transactions begun again at once: deadlocks, serialization failures, rows that appeared',
  });
  const seconds = metrics?.histogram({
    name: 'sluice_writer_upload_seconds',
    help: 'From taking up an upload to its answer',
    buckets: latencyBuckets,
  });
  return {
    answered(project, { result }, durationMs) {
      uploads?.inc({ result });
      seconds?.observe(durationMs / 1000);
      logger.debug('upload answered', { projectId: project, status: result, durationMs });
    },
    refused(project, code) {
      refusals?.inc({ code });
      logger.debug('upload refused', { projectId: project, code });
    },
    attemptLost(project, sqlstate) {
      lost?.inc();
      logger.debug('upload begun again', { projectId: project, reason: sqlstate });
    },
    failed(project, error) {
      const fields = { projectId: project, code: error.code, error };
      if (error.code === 'WRITES_FAILED') logger.error('upload failed', fields);
      else logger.warn('upload not taken', fields);
    },
  };
}
