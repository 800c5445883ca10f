import { createBucketWorker } from '@sluice/bucket-worker';
import type { OpQueue } from '@sluice/op-queue';
import { createReplicator } from '@sluice/replicator';
import { createLogger, systemClock } from '@sluice/telemetry';
import { waitFor } from '@sluice/testkit';
import { project, ReplicatedSource } from './replicated-source.ts';

/** Longer than any test. Milliseconds. */
export const NEVER_MS = 600_000;
export const ALL_NOTES = 'select id, body from notes';
const RULES = 'version: 1\nstreams:\n  notes:\n    query: SELECT id, body FROM notes\n';
const SCHEMA = 'create table notes (id int primary key, body text); alter table notes replica identity full;';
const logger = createLogger({ service: 'test', level: 'error', clock: systemClock });

/** A part that runs until it is stopped. */
export interface Running extends AsyncDisposable {
  stop(): Promise<void>;
}
function running(run: (signal: AbortSignal) => Promise<void>): Running {
  const controller = new AbortController();
  const ended = run(controller.signal);
  const stop = (): Promise<void> => {
    controller.abort();
    return ended;
  };
  return { stop, [Symbol.asyncDispose]: stop };
}

/** Notes with a first row, which nobody follows at the moment. */
export async function deployedNotes(url: string): Promise<ReplicatedSource> {
  const source = new ReplicatedSource(url);
  await source.sql(`${SCHEMA} insert into notes values (1, 'first')`);
  source.start();
  await source.deploy(RULES);
  await source.stop();
  return source;
}

export function runWorker({ store, queue: ownQueue, wakeUps }: ReplicatedSource, queue: OpQueue = ownQueue): Running {
  const shared = { store, queue, wakeUps, clock: systemClock, logger };
  return running((signal) => createBucketWorker(shared).runProject(project, signal));
}

/** One that writes no heartbeats: what is on its way is what a test wrote. */
export function runReplicator(
  source: ReplicatedSource,
  { drainMs = 0, queue = source.queue }: { readonly drainMs?: number; readonly queue?: OpQueue } = {},
): Running {
  const { store, wakeUps } = source;
  const shared = { store, queue, wakeUps, clock: systemClock, logger, heartbeatMs: NEVER_MS };
  const replicator = createReplicator({ ...shared, sourceOf: async () => source.connection, tuning: { drainMs } });
  return running((signal) => replicator.run(project, signal));
}

/** Stores a second row and streams a third, which nobody applies; resolves when it alone is in the queue. */
export async function readButNotStored(source: ReplicatedSource, queue: OpQueue = source.queue): Promise<void> {
  const worker = runWorker(source, queue);
  await source.sql(`insert into notes values (2, 'stored')`);
  await waitFor(async () => (await source.rows('notes')).length === 2, { what: 'the second row', timeoutMs: 20_000 });
  await worker.stop();
  await waitFor(async () => (await queue.isEmpty(project, 0)) === true, { what: 'nothing to be on its way' });
  await source.sql(`insert into notes values (3, 'read')`);
  await waitFor(async () => (await queue.isEmpty(project, 0)) === false, { what: 'the third row to be read' });
}
