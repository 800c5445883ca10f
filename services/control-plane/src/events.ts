import type { JobRecord } from '@sluice/database';
import type { AppError } from '@sluice/errors';
import type { Logger, Metrics } from '@sluice/telemetry';

/** Names of the fields below that are not common to all services; a logger must allow them to show their values. */
export const controlPlaneLogFields = ['route', 'jobNo', 'kind', 'willRetry'] as const;

/** What happens here, with its counter and its log record together. */
export type ControlPlaneEvents = ReturnType<typeof controlPlaneEvents>;

export function controlPlaneEvents(logger: Logger, metrics: Metrics) {
  const requests = metrics.counter({
    name: 'sluice_control_plane_requests_total',
    help: 'Answered API requests.',
    labels: ['method', 'route', 'status'],
  });
  const jobs = metrics.counter({
    name: 'sluice_control_plane_jobs_total',
    help: 'Turns at provisioning jobs by outcome.',
    labels: ['kind', 'outcome', 'code'],
  });
  const queueErrors = metrics.counter({
    name: 'sluice_control_plane_queue_errors_total',
    help: 'Times the job queue could not be reached.',
  });
  return {
    listening(port: number): void {
      logger.info('control plane is listening', { port });
    },
    stopped(): void {
      logger.info('control plane has stopped');
    },
    /** @param request.route the route's pattern, never the path, which names tenants */
    requestAnswered(request: {
      method: string;
      route: string;
      status: number;
      durationMs: number;
      requestId: string;
    }): void {
      requests.inc({ method: request.method, route: request.route, status: String(request.status) });
      logger.debug('request answered', request);
    },
    requestFailed(requestId: string, error: unknown): void {
      logger.error('request failed', { requestId, error });
    },
    jobEnqueued({ projectId, jobNo, kind }: JobRecord): void {
      logger.info('provisioning job enqueued', { projectId, jobNo, kind });
    },
    jobSucceeded({ projectId, jobNo, kind, attempts }: JobRecord): void {
      jobs.inc({ kind, outcome: 'succeeded', code: '' });
      logger.info('provisioning job succeeded', { projectId, jobNo, kind, attempt: attempts });
    },
    jobFailed({ projectId, jobNo, kind, attempts }: JobRecord, error: AppError, willRetry: boolean): void {
      jobs.inc({ kind, outcome: willRetry ? 'will-retry' : 'failed', code: error.code });
      const fields = { projectId, jobNo, kind, attempt: attempts, code: error.code, willRetry, error };
      if (willRetry) logger.warn('provisioning job failed and is tried again', fields);
      else logger.error('provisioning job failed', fields);
    },
    /** Jobs are rows first: one that could not be queued now is queued by the next sweep. */
    queueUnreachable(error: unknown): void {
      queueErrors.inc();
      logger.warn('job queue cannot be reached', { error });
    },
    projectWatchLost(error: unknown): void {
      logger.warn('lost the connection that tells of project changes', { error });
    },
    projectDeleted(projectId: number, wasReleased: boolean): void {
      logger.info('project deleted', { projectId, state: wasReleased ? 'released' : 'abandoned' });
    },
  };
}
