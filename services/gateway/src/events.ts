import type { ProjectId } from '@sluice/domain';
import type { AppError, Code } from '@sluice/errors';
import { createMetrics, type Logger, latencyBuckets, type Metrics } from '@sluice/telemetry';

/** Every business event of the gateway: its counters and its log record, in one place. */
export function gatewayEvents(logger: Logger, metrics: Metrics = createMetrics({ service: 'gateway' })) {
  const opened = metrics.counter({ name: 'sluice_gateway_sessions_total', help: 'Sessions opened' });
  const closed = metrics.counter({
    name: 'sluice_gateway_closes_total',
    help: 'Connections that the gateway closed, by code',
    labels: ['code'],
  });
  const checkpoints = metrics.counter({ name: 'sluice_gateway_checkpoints_total', help: 'Checkpoints sent' });
  const bytes = metrics.counter({ name: 'sluice_gateway_sent_bytes_total', help: 'Bytes of checkpoints sent' });
  const stepSeconds = metrics.histogram({
    name: 'sluice_gateway_step_seconds',
    help: 'From taking up a checkpoint to its last byte in the send buffer',
    buckets: latencyBuckets,
  });
  const failures = metrics.counter({
    name: 'sluice_gateway_watch_failures_total',
    help: 'Failed looks at what a project serves',
  });
  const uploads = metrics.counter({
    name: 'sluice_gateway_uploads_total',
    help: 'Uploads that were handed to the writer, by result',
    labels: ['result'],
  });
  return {
    sessionOpened(session: string, project: ProjectId): void {
      opened.inc();
      logger.debug('session opened', { connectionId: session, projectId: project });
    },
    sessionClosed(session: string, project: ProjectId | undefined, error: AppError | undefined): void {
      if (!error) {
        logger.debug('session ended', { connectionId: session, projectId: project });
        return;
      }
      closed.inc({ code: error.code });
      const fields = { connectionId: session, projectId: project, code: error.code, error };
      if (isOurFault(error.code)) logger.error('session failed', fields);
      else logger.info('session closed', fields);
    },
    upgradeRefused(code: Code): void {
      closed.inc({ code });
      logger.info('connection refused', { code });
    },
    checkpointSent(project: ProjectId, sent: { lsn: bigint; bytes: number }, durationMs: number): void {
      checkpoints.inc();
      bytes.inc(sent.bytes);
      stepSeconds.observe(durationMs / 1000);
      logger.debug('checkpoint sent', { projectId: project, lsn: sent.lsn, bytes: sent.bytes, durationMs });
    },
    uploadAnswered(project: ProjectId, result: string): void {
      uploads.inc({ result });
      logger.debug('upload answered', { projectId: project, status: result });
    },
    writerFailed(project: ProjectId, error: unknown): void {
      failures.inc();
      logger.warn('writer does not say whether it takes uploads', { projectId: project, error });
    },
    watchFailed(project: ProjectId, error: unknown): void {
      failures.inc();
      logger.warn('project cannot be read', { projectId: project, error });
    },
    listening(port: number): void {
      logger.info('listening', { port });
    },
    draining(count: number): void {
      logger.info('draining', { count });
    },
  };
}
export type GatewayEvents = ReturnType<typeof gatewayEvents>;

function isOurFault(code: Code): boolean {
  return code === 'GATEWAY_FAILED' || code === 'BUCKET_INCONSISTENT' || code === 'CLIENT_AHEAD';
}
