import { type ProjectId, parseProjectId } from '@sluice/domain';
import { AppError, type Code, type ErrorDetails, isAppError, isCode } from '@sluice/errors';
import type { SourceTable } from '@sluice/sync-rules';
import type { ApplyProgress, ApplyStep } from './source-provisioner.ts';

/** What is asked over the queue. Rules travel by their number: they stand in the control database. */
export type Step =
  | { readonly kind: 'preflight'; readonly projectId: ProjectId; readonly tables: readonly SourceTable[] }
  | { readonly kind: 'catalog'; readonly projectId: ProjectId }
  | { readonly kind: 'estimate-rows'; readonly projectId: ProjectId; readonly tables: readonly SourceTable[] }
  | {
      readonly kind: 'preview';
      readonly projectId: ProjectId;
      readonly version: number;
      readonly claims: Readonly<Record<string, unknown>>;
      readonly rowsMax: number;
    }
  | {
      readonly kind: 'explain';
      readonly projectId: ProjectId;
      readonly version: number;
      readonly claims: Readonly<Record<string, unknown>>;
      readonly table: string;
      readonly key: readonly string[];
    }
  | { readonly kind: 'apply'; readonly projectId: ProjectId; readonly version: number }
  | { readonly kind: 'reshard'; readonly projectId: ProjectId; readonly shards: number }
  | { readonly kind: 'audit'; readonly projectId: ProjectId }
  | { readonly kind: 'release'; readonly projectId: ProjectId };

/** What comes back; an error travels as its code. */
export type StepResult =
  | { readonly kind: 'done'; readonly value: unknown }
  | { readonly kind: 'failed'; readonly code: Code; readonly details: ErrorDetails };

/** Questions are answered in a moment by any replicator; work takes its time, in the one that holds the source. */
export const QUEUE_BY_KIND = {
  preflight: 'source-questions',
  catalog: 'source-questions',
  'estimate-rows': 'source-questions',
  preview: 'source-questions',
  explain: 'source-questions',
  apply: 'source-work',
  reshard: 'source-work',
  audit: 'source-work',
  release: 'source-work',
} as const satisfies Record<Step['kind'], string>;
/** The braces keep all keys of a queue on one node of a Redis Cluster. */
export const QUEUE_PREFIX = '{sluice-steps}';

/** Lives while whoever asked still wants the answer; when it is gone, the step is to be given up. */
export const wantedKey = (jobId: string): string => `${QUEUE_PREFIX}:wanted:${jobId}`;

export function resultOfError(error: unknown): StepResult {
  if (!isAppError(error)) return { kind: 'failed', code: 'SOURCE_STEP_FAILED', details: {} };
  return { kind: 'failed', code: error.code, details: error.details };
}

/** @throws AppError SOURCE_STEP_FAILED when this is no step: whatever lies in a queue is input */
export function stepFrom(data: unknown): Step {
  const { kind, projectId, tables, version, shards, claims, rowsMax, table, key } = fieldsOf(data);
  const project = typeof projectId === 'number' ? parseProjectId(projectId) : refuse('a step without a project');
  switch (kind) {
    case 'preflight':
      return { kind, projectId: project, tables: Array.isArray(tables) ? tables.map(tableFrom) : [] };
    case 'estimate-rows':
      return { kind, projectId: project, tables: Array.isArray(tables) ? tables.map(tableFrom) : [] };
    case 'preview':
      return {
        kind,
        projectId: project,
        version: numberFrom(version),
        claims: fieldsOf(claims),
        rowsMax: numberFrom(rowsMax),
      };
    case 'explain':
      return {
        kind,
        projectId: project,
        version: numberFrom(version),
        claims: fieldsOf(claims),
        table: String(table),
        key: Array.isArray(key) ? key.map(String) : [],
      };
    case 'apply':
      return { kind, projectId: project, version: numberFrom(version) };
    case 'reshard':
      return { kind, projectId: project, shards: numberFrom(shards) };
    case 'catalog':
    case 'audit':
    case 'release':
      return { kind, projectId: project };
    default:
      return refuse('an unknown step');
  }
}

function numberFrom(data: unknown): number {
  return typeof data === 'number' ? data : refuse('a number is missing');
}

function tableFrom(data: unknown): SourceTable {
  const { schema, name } = fieldsOf(data);
  if (typeof schema !== 'string' || typeof name !== 'string') return refuse('a table without a name');
  return { schema, name };
}

/** @throws AppError that the step ended with */
export function answerFrom(result: unknown): unknown {
  const { kind, value, code, details } = fieldsOf(result);
  if (kind === 'done') return value;
  const known = typeof code === 'string' && isCode(code) ? code : 'SOURCE_STEP_FAILED';
  // Whoever takes steps wrote them from an AppError.
  throw new AppError(known, { internal: 'as the replicator has it', details: fieldsOf(details) as ErrorDetails });
}

const APPLY_STEPS: readonly string[] = ['publication', 'slot', 'snapshot', 'live'] satisfies ApplyStep[];

/** Undefined for anything else than progress, as before the first. */
export function progressFrom(data: unknown): ApplyProgress | undefined {
  const { step, done, estimate } = fieldsOf(data);
  if (typeof step !== 'string' || !APPLY_STEPS.includes(step) || typeof done !== 'number') return undefined;
  return { step: step as ApplyStep, done, estimate: typeof estimate === 'number' ? estimate : undefined };
}

function fieldsOf(data: unknown): Readonly<Record<string, unknown>> {
  return typeof data === 'object' && data !== null ? (data as Record<string, unknown>) : {};
}

function refuse(internal: string): never {
  throw new AppError('SOURCE_STEP_FAILED', { internal });
}
