import { type Clock, delay, type ProjectId } from '@sluice/domain';
import { AppError, assert, type Code, isAppError } from '@sluice/errors';
import { type SourceConnection, sourceError } from '@sluice/source-connection';
import type { CompiledRules, WritesPlan } from '@sluice/sync-rules';
import type { Logger, Metrics } from '@sluice/telemetry';
import type { Upload, UploadAnswer, Uploads } from '@sluice/uploads';
import { planWrites } from './accept/plan-writes.ts';
import { recordTogether, recordUpload } from './apply/record-upload.ts';
import { sqlstateFrom } from './apply/refusal-of.ts';
import { writerEvents } from './events.ts';
import { isRefusal, type PlannedWrite, type Refusal } from './model.ts';
import { RulesCache } from './rules-cache.ts';
import { defaultPoolLimits, type PoolLimits, SourcePools } from './source/source-pools.ts';
import type { Needs } from './source/writer-session.ts';

export interface WriterOptions {
  /** How a project's source is reached, its password decrypted. */
  readonly sourceOf: (project: ProjectId) => Promise<SourceConnection>;
  /** The compiled rules in force; undefined until a deploy has succeeded. */
  readonly rulesOf: (project: ProjectId) => Promise<CompiledRules | undefined>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics?: Metrics | undefined;
  /** What is left out is as in `defaultPoolLimits`. */
  readonly limits?: Partial<PoolLimits> | undefined;
}

/** `stateOf`: by the rules and by the last attempt; after a failed one the source is asked anew. */
export interface Writer extends Uploads {
  /** Rules or the source may have changed; without a project, those of all. */
  projectChanged(project?: ProjectId): void;
  /** Resolves when no connection is left; uploads under way are finished. */
  close(): Promise<void>;
}

/** Times that an upload is begun within one call, when others got in its way. */
const ATTEMPTS_MAX = 5;
const ATTEMPT_PAUSE_MS = 20;
/** Changed rows that are written in one transaction of the source, of several of a client. */
const TOGETHER_WRITES_MAX = 1000;
/** Serialization failure, deadlock, a key that appeared between two looks, and a statement that took too long. */
const LOST_TO_OTHERS: ReadonlySet<string> = new Set(['40001', '40P01', '23505', '57014']);
/** Of our own tables: missing, not to be used, or of another shape. */
const TABLES_UNUSABLE = /^(42501|42P01|42703|3F000)$/;
/** Somebody else holds what we need, or it took too long. */
const BUSY = /^(40001|40P01|23505|55...|57014|53...)$/;
/** What an upload that comes again runs into as well, until somebody does something. */
const LASTING = /^(WRITES_ROLE_|WRITES_TABLES_|SOURCE_|SECRET_|API_UNAVAILABLE)/;

/** Joins accept (bytes to planned writes), source (connections) and apply (planned writes to one transaction). */
export function createWriter(options: WriterOptions): Writer {
  const { clock } = options;
  const events = writerEvents(options.logger, options.metrics);
  const pools = new SourcePools(options.sourceOf, { ...defaultPoolLimits, ...options.limits });
  const rules = new RulesCache(options.rulesOf, clock);
  const troubleByProject = new Map<ProjectId, Code>();

  async function attempt(upload: Upload, writes: WritesPlan, plan: readonly PlannedWrite[] | Refusal) {
    const needs = needsOf(writes);
    for (let tries = 1; ; tries++) {
      try {
        return await pools.use(upload.project, async (session) => {
          await session.prepare(needs);
          return recordUpload(session, { upload, plan, role: writes.role, isLastLook: tries > 1 });
        });
      } catch (error) {
        const sqlstate = sqlstateFrom(error);
        if (tries === ATTEMPTS_MAX || sqlstate === undefined || !LOST_TO_OTHERS.has(sqlstate)) throw error;
        events.attemptLost(upload.project, sqlstate);
      }
      await delay(clock, ATTEMPT_PAUSE_MS * tries);
    }
  }

  /** Undefined when they have to be recorded one by one. */
  async function attemptTogether(upload: Upload, writes: WritesPlan, plans: readonly (readonly PlannedWrite[])[]) {
    try {
      return await pools.use(upload.project, async (session) => {
        await session.prepare(needsOf(writes));
        return recordTogether(session, { upload, plans, role: writes.role });
      });
    } catch (error) {
      const sqlstate = sqlstateFrom(error);
      if (sqlstate === undefined || !LOST_TO_OTHERS.has(sqlstate)) throw error;
      events.attemptLost(upload.project, sqlstate);
      return undefined;
    }
  }

  async function write(upload: Upload): Promise<UploadAnswer> {
    const { project, transactions } = upload;
    let expected = upload.seq;
    try {
      const compiled = await rules.rulesOf(project);
      const writes = compiled?.writes;
      if (!writes) return { result: 'retry', code: 'WRITES_OFF', expected };
      const plans = transactions.map((transaction) => planWrites(transaction, compiled, writes));
      const fit = plans.filter((plan): plan is PlannedWrite[] => !isRefusal(plan));
      const isTogether = plans.length > 1 && fit.length === plans.length && writesIn(fit) <= TOGETHER_WRITES_MAX;
      let answer = isTogether ? await attemptTogether(upload, writes, fit) : undefined;
      if (!answer) {
        for (const [i, plan] of plans.entries()) {
          const recorded = await attempt({ ...upload, seq: upload.seq + i }, writes, plan);
          if (recorded.refusal) events.refused(project, recorded.refusal.code);
          answer = recorded.answer;
          expected = answer.expected;
          if (answer.result !== 'recorded') break;
        }
      }
      assert(answer, 'an upload has a transaction');
      troubleByProject.delete(project);
      return answer;
    } catch (error) {
      const coded = codedError(error);
      events.failed(project, coded);
      if (coded.code === 'WRITE_CLIENT_FOREIGN') throw coded;
      if (LASTING.test(coded.code)) troubleByProject.set(project, coded.code);
      return { result: 'retry', code: coded.code, expected };
    }
  }

  /** Asks the source whether what was wrong still is. */
  async function troubleNow(project: ProjectId, writes: WritesPlan): Promise<Code | undefined> {
    try {
      await pools.use(project, async (session) => {
        await session.prepare(needsOf(writes));
        await session.run('SELECT FROM sluice.client, sluice.refusal LIMIT 0');
      });
      return undefined;
    } catch (error) {
      return codedError(error).code;
    }
  }

  return {
    async write(upload) {
      const startedMs = clock.monotonicMs();
      const answer = await write(upload);
      events.answered(upload.project, answer, clock.monotonicMs() - startedMs);
      return answer;
    },
    async stateOf(project) {
      const compiled = await rules.rulesOf(project);
      if (!compiled?.writes) return { state: 'read-only', code: 'WRITES_OFF' };
      if (!troubleByProject.has(project)) return { state: 'enabled', code: '' };
      const code = await troubleNow(project, compiled.writes);
      if (code === undefined) {
        troubleByProject.delete(project);
        return { state: 'enabled', code: '' };
      }
      troubleByProject.set(project, code);
      return { state: 'unavailable', code };
    },
    projectChanged(project) {
      rules.forget(project);
      if (project === undefined) pools.forgetAll();
      else pools.forget(project);
    },
    close: () => pools.close(),
  };
}

function writesIn(plans: readonly (readonly PlannedWrite[])[]): number {
  return plans.reduce((sum, plan) => sum + plan.length, 0);
}
function needsOf({ role, tables }: WritesPlan): Needs {
  const typeOids = new Set(tables.flatMap(({ table }) => table.columns.map(({ baseTypeOid }) => baseTypeOid)));
  return { role, typeOids: [...typeOids] };
}

/** Why an upload was not recorded, from an error that no refusal came of. */
function codedError(error: unknown): AppError {
  if (isAppError(error)) return error;
  const sqlstate = sqlstateFrom(error);
  if (sqlstate !== undefined && TABLES_UNUSABLE.test(sqlstate))
    return new AppError('WRITES_TABLES_UNUSABLE', { cause: error });
  if (sqlstate !== undefined && BUSY.test(sqlstate)) return new AppError('WRITES_BUSY', { cause: error });
  const isOurs = error instanceof Error && ['InvariantError', 'TypeError', 'RangeError'].includes(error.name);
  return isOurs ? new AppError('WRITES_FAILED', { cause: error }) : sourceError(error);
}
