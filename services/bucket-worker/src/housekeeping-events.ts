import type { ProjectId } from '@sluice/domain';
import type { Logger, Metrics } from '@sluice/telemetry';
import type { CompactionStep } from './compact/compact-stream.ts';

/** Each business event of housekeeping: its log record and its metric together. */
export interface HousekeepingEvents {
  step(step: CompactionStep): void;
  failed(project: ProjectId, error: unknown): void;
  /** Space of the store's tables went back to the disk. */
  gaveBack(bytes: number): void;
  /** That did not work this time. */
  keptSpace(error: unknown): void;
  /** An invariant is broken: the project is left alone until the process starts again (L17). */
  gaveUp(project: ProjectId, error: unknown): void;
}

/** Without `metrics` events are only logged. */
export function housekeepingEvents(logger: Logger, metrics: Metrics | undefined): HousekeepingEvents {
  const folded = metrics?.counter({
    name: 'sluice_compaction_chunks_folded_total',
    help: 'Chunks that compaction took out of the bucket store, less those that it put in their place',
  });
  const dropped = metrics?.counter({
    name: 'sluice_compaction_ops_dropped_total',
    help: 'Superseded ops and tombstones that compaction left out',
  });
  const packed = metrics?.counter({
    name: 'sluice_compaction_chunks_packed_total',
    help: 'Small chunks that were packed together',
  });
  const givenBack = metrics?.counter({
    name: 'sluice_store_bytes_given_back_total',
    help: 'Bytes of emptied indexes that the bucket store gave back to the disk',
  });
  const failures = metrics?.counter({
    name: 'sluice_compaction_failures_total',
    help: 'Rounds that ended in an error',
  });
  return {
    step({ chunksBefore, chunksAfter, opsDropped, packed: count }) {
      folded?.inc(Math.max(0, chunksBefore - chunksAfter));
      dropped?.inc(opsDropped);
      packed?.inc(count);
      if (chunksBefore + count > 0) logger.debug('chunks folded', { count: chunksBefore, rows: opsDropped });
    },
    failed(projectId, error) {
      failures?.inc();
      logger.warn('compaction begins anew later', { projectId, error });
    },
    gaveBack(bytes) {
      givenBack?.inc(bytes);
      if (bytes > 0) logger.info('space of the bucket store given back', { bytes });
    },
    keptSpace(error) {
      failures?.inc();
      logger.warn('space of the bucket store is given back later', { error });
    },
    gaveUp(projectId, error) {
      failures?.inc();
      logger.error('compaction of a project stopped', { projectId, error });
    },
  };
}
