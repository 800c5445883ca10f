import type { SourceIssue } from '@sluice/bucket-store';
import { formatPosition, type Position, type ProjectId } from '@sluice/domain';
import { type Logger, latencyBuckets, type Metrics } from '@sluice/telemetry';
import type { SchemaMismatch } from './apply/relation-bindings.ts';

/** Each business event of the worker: its log record and its metric together. */
export interface WorkerEvents {
  started(project: ProjectId, shard: number): void;
  stopped(project: ProjectId, shard: number): void;
  lost(project: ProjectId, shard: number): void;
  applied(frame: { readonly rows: number; readonly chunks: number; readonly durationMs: number }): void;
  issues(project: ProjectId, issues: readonly SourceIssue[]): void;
  gap(project: ProjectId, at: { readonly applied: Position; readonly prev: Position }): void;
  fenced(project: ProjectId): void;
  schemaChanged(project: ProjectId, mismatches: readonly SchemaMismatch[]): void;
  storeUnavailable(
    project: ProjectId,
    retry: { readonly attempt: number; readonly retryInMs: number; error: unknown },
  ): void;
  failed(project: ProjectId, error: unknown): void;
}

/** Without `metrics` events are only logged. */
export function workerEvents(logger: Logger, metrics: Metrics | undefined): WorkerEvents {
  const rows = metrics?.counter({ name: 'sluice_bucket_worker_rows_total', help: 'Row changes applied' });
  const chunks = metrics?.counter({ name: 'sluice_bucket_worker_chunks_total', help: 'Chunks written' });
  const left = metrics?.counter({
    name: 'sluice_bucket_worker_rows_left_out_total',
    help: 'Rows left out, by code',
    labels: ['code'],
  });
  const refused = metrics?.counter({
    name: 'sluice_bucket_worker_frames_refused_total',
    help: 'Frames that were not applied, by reason',
    labels: ['reason'],
  });
  const retries = metrics?.counter({
    name: 'sluice_bucket_worker_store_retries_total',
    help: 'Calls repeated because the bucket store did not answer',
  });
  const commit = metrics?.histogram({
    name: 'sluice_bucket_worker_commit_seconds',
    help: 'From a frame evaluated to durable',
    buckets: latencyBuckets,
  });
  return {
    started: (projectId, shard) => logger.info('shard taken up', { projectId, shard }),
    stopped: (projectId, shard) => logger.info('shard put down', { projectId, shard }),
    lost: (projectId, shard) => logger.warn('shard lost, waiting for its lease', { projectId, shard }),
    applied(frame) {
      rows?.inc(frame.rows);
      chunks?.inc(frame.chunks);
      commit?.observe(frame.durationMs / 1000);
      logger.debug('frame applied', { rows: frame.rows, count: frame.chunks, durationMs: frame.durationMs });
    },
    issues(projectId, issues) {
      for (const { code, table, count } of issues) {
        left?.inc({ code }, count);
        logger.warn('rows left out', { projectId, code, table, count });
      }
    },
    gap(projectId, { applied, prev }) {
      refused?.inc({ reason: 'gap' });
      logger.warn('frame begins beyond the applied position', {
        projectId,
        position: formatPosition(applied),
        lsn: formatPosition(prev),
      });
    },
    fenced(projectId) {
      refused?.inc({ reason: 'fenced' });
      logger.info('frame of a former lease dropped', { projectId });
    },
    schemaChanged(projectId, mismatches) {
      refused?.inc({ reason: 'schema' });
      for (const { stream, table } of mismatches)
        logger.error('table no longer fits its stream', { projectId, code: 'SCHEMA_CHANGED', streamId: stream, table });
    },
    storeUnavailable(projectId, { attempt, retryInMs, error }) {
      retries?.inc();
      logger.warn('bucket store does not answer', { projectId, attempt, retryInMs, error });
    },
    failed: (projectId, error) => logger.error('shard stopped', { projectId, error }),
  };
}
