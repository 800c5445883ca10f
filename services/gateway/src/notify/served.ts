import type { StreamRecord } from '@sluice/bucket-store';
import type { Checkpoint, ProjectId } from '@sluice/domain';
import { assert } from '@sluice/errors';
import type { TableSchema } from '@sluice/protocol';
import { PLAN_VERSION, type StreamPlan } from '@sluice/sync-rules';
import { isVisibleAt, type SchemaMessage, type Served, type ServedStream } from '../model.ts';

/** The streams of the checkpoint's epoch, parsed once per reading of the store. */
export function generationsOf(records: readonly StreamRecord[], epoch: number): ServedStream[] {
  return records
    .filter((record) => record.epoch === epoch)
    .map(({ stream, plan, visibleAfter, droppedAfter }) => ({ stream, plan: planOf(plan), visibleAfter, droppedAfter }))
    .sort((a, b) => a.stream - b.stream);
}

/** @param before the project's state until now; its stream set is kept when it is still the same */
export function servedAt(
  project: ProjectId,
  checkpoint: Checkpoint,
  generations: readonly ServedStream[],
  before: Served | undefined,
): Served {
  const streams = generations.filter((stream) => isVisibleAt(stream, checkpoint.lsn));
  if (before && before.checkpoint.epoch === checkpoint.epoch && isSameSet(before.streams, streams))
    return { project, checkpoint, generations, streams: before.streams, schema: before.schema };
  return { project, checkpoint, generations, streams, schema: schemaOf(streams) };
}

/** Every table once: streams that feed one table have equal columns (the compiler sees to it). */
export function schemaOf(streams: readonly ServedStream[]): SchemaMessage {
  const tableByName = new Map<string, TableSchema>();
  for (const { plan } of streams) {
    const { name, columns, keyColumns } = plan.table;
    const shown = columns.map(({ name, sqliteType, pgType }) => ({ name, sqliteType, pgType }));
    tableByName.set(name, { name, columns: shown, keyColumns });
  }
  return {
    type: 'schema',
    tables: [...tableByName.values()],
    streams: streams.map(({ stream, plan }) => ({ stream, name: plan.name, table: plan.table.name })),
  };
}

/** Whether both are the same streams, shown and dropped at the same checkpoints. */
export function isSameGenerations(a: readonly ServedStream[], b: readonly ServedStream[]): boolean {
  const isSame = (x: ServedStream, y: ServedStream | undefined): boolean =>
    x.stream === y?.stream && x.visibleAfter === y.visibleAfter && x.droppedAfter === y.droppedAfter;
  return a.length === b.length && a.every((stream, i) => isSame(stream, b[i]));
}

function isSameSet(a: readonly ServedStream[], b: readonly ServedStream[]): boolean {
  return a.length === b.length && a.every((stream, i) => stream.stream === b[i]?.stream);
}

function planOf(plan: unknown): StreamPlan {
  // The store gives back what the compiler made; a shape of another version carries another number.
  const version = typeof plan === 'object' && plan !== null && 'version' in plan ? plan.version : undefined;
  assert(version === PLAN_VERSION, 'a stored plan has another version than this gateway');
  return plan as StreamPlan;
}
