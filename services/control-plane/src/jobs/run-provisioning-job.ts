import type { CodedProblem, Database, JobHold, JobRecord, Json, RulesRecord, StepName } from '@sluice/database';
import type { Clock, ProjectId } from '@sluice/domain';
import { AppError, assert, isAppError, unreachable } from '@sluice/errors';
import { jsonFromPlan, planOf } from '@sluice/project-directory';
import type { ApplyProgress, CheckResult, ProvisioningProject, SourceProvisioner } from '@sluice/source-steps';
import type { CompiledRules } from '@sluice/sync-rules';
import type { ControlPlaneEvents } from '../events.ts';
import type { RulesChecker } from '../sync-rules/check-rules.ts';

export interface JobRunner {
  readonly database: Database;
  readonly provisioner: SourceProvisioner;
  readonly checkRules: RulesChecker;
  readonly clock: Clock;
  readonly events: ControlPlaneEvents;
  /** Named places between durable steps, where tests make the process stop; none in production. */
  readonly faultPoint: ((name: string) => Promise<void> | undefined) | undefined;
}

export interface JobTurn {
  readonly projectId: ProjectId;
  readonly jobNo: number;
  /** Whether the queue will not try again after this turn. */
  readonly isLastTry: boolean;
  readonly signal: AbortSignal;
}

/** Progress within one step is written at most this often. */
const PROGRESS_INTERVAL_MS = 500;

/**
 * One turn at a job, from wherever an earlier one left it. Resolves when the job is finished, well or not, or needs no
 * turn any more; rejects when another turn should be taken later.
 */
export async function runProvisioningJob(runner: JobRunner, turn: JobTurn): Promise<void> {
  const { database, events } = runner;
  const begun = await database.jobs.begin(turn.projectId, turn.jobNo);
  if (!begun) return;
  const { hold, job } = begun;
  const steps = new StepWriter(runner, hold);
  try {
    await runSteps(runner, turn, job, steps);
    events.jobSucceeded(job);
  } catch (error) {
    if (isAppError(error, 'JOB_SUPERSEDED')) return;
    // A stopping process leaves the job as it stands: the next one resumes it.
    if (turn.signal.aborted) throw error;
    const failure = isAppError(error) ? error : new AppError('SOURCE_STEP_FAILED', { cause: error });
    await steps.fail({ code: failure.code, details: failure.details });
    const willRetry = failure.definition.retry === 'retry' && !turn.isLastTry;
    events.jobFailed(job, failure, willRetry);
    if (willRetry) throw failure;
    await database.jobs.fail(hold, { code: failure.code, details: failure.details });
  }
}

async function runSteps(runner: JobRunner, turn: JobTurn, job: JobRecord, steps: StepWriter): Promise<void> {
  switch (job.kind) {
    case 'deploy':
      return await runDeploy(runner, turn, job, steps);
    case 'release':
      return await runRelease(runner, turn, steps);
    case 'reshard':
      return await runReshard(runner, turn, job, steps);
    case 'audit':
      return await runAudit(runner, turn, steps);
    default:
      return unreachable(job.kind);
  }
}

async function runDeploy(runner: JobRunner, turn: JobTurn, job: JobRecord, steps: StepWriter): Promise<void> {
  const { database, provisioner } = runner;
  const project = await database.projects.byId(turn.projectId);
  const target = { projectId: project.id, ref: project.ref };
  const { revision } = await database.sources.get(project.id);
  assert(job.rulesVersion !== undefined, 'a deploy names its rules');
  const rules = await database.rules.get(project.id, job.rulesVersion);

  // After a crash the job goes on with what was decided before it; after a failure it decides anew.
  const isResumed = job.steps.every((step) => step.state !== 'failed');
  const isDone = (name: StepName) =>
    isResumed && job.steps.some((step) => step.name === name && step.state === 'succeeded');

  const compiled = isDone('connect') ? planOf(rules) : await connect(runner, target, rules, steps);
  if (!isDone('preflight')) await preflight(runner, { target, revision, compiled }, steps);
  await steps.begin('publication');
  await untilAborted(
    provisioner.apply(
      target,
      { version: rules.version, yaml: rules.yaml, compiled },
      (progress) => steps.report(progress),
      turn.signal,
    ),
    turn.signal,
  );
  await steps.finishThrough('live');
  await database.jobs.reportSource(steps.hold, {
    revision,
    state: 'live',
    problem: undefined,
    serverVersion: undefined,
    slot: undefined,
  });
  await database.jobs.succeed(steps.hold);
}

/** The source's tables may have changed since the edition was posted: what is deployed is what holds now. */
async function connect(
  runner: JobRunner,
  target: ProvisioningProject,
  rules: RulesRecord,
  steps: StepWriter,
): Promise<CompiledRules> {
  await steps.begin('connect');
  const checked = await runner.checkRules(rules.yaml, await runner.provisioner.catalog(target));
  if (checked.kind === 'invalid') {
    const problems = checked.diagnostics.map(({ code, line }) => `${code} in line ${line}`);
    throw new AppError('RULES_VERSION_NOT_DEPLOYABLE', { details: { problems } });
  }
  await runner.database.rules.replacePlan(rules.projectId, rules.version, jsonFromPlan(checked.rules));
  return checked.rules;
}

async function preflight(
  runner: JobRunner,
  about: { target: ProvisioningProject; revision: number; compiled: CompiledRules },
  steps: StepWriter,
): Promise<void> {
  const { target, revision, compiled } = about;
  await steps.begin('preflight');
  const checks = await runner.provisioner.preflight(target, compiled.tables);
  steps.keepChecks(checks);
  const problem = problemOfChecks(checks);
  const state = problem ? 'failed' : 'ready';
  await runner.database.jobs.reportSource(steps.hold, {
    revision,
    state,
    problem,
    serverVersion: undefined,
    slot: undefined,
  });
  if (problem) throw new AppError(problem.code, { details: problem.details });
}

async function runRelease(runner: JobRunner, turn: JobTurn, steps: StepWriter): Promise<void> {
  const { database, provisioner } = runner;
  const { id, ref } = await database.projects.byId(turn.projectId);
  await steps.begin('release');
  await untilAborted(provisioner.release({ projectId: id, ref }, turn.signal), turn.signal);
  await steps.finishThrough('release');
  await database.projects.erase(id);
}

async function runReshard(runner: JobRunner, turn: JobTurn, job: JobRecord, steps: StepWriter): Promise<void> {
  const { database, provisioner } = runner;
  const { id, ref } = await database.projects.byId(turn.projectId);
  assert(job.shards !== undefined, 'a resharding says how many shards');
  await steps.begin('reshard');
  await untilAborted(provisioner.reshard({ projectId: id, ref }, job.shards, turn.signal), turn.signal);
  await steps.finishThrough('reshard');
  await database.jobs.succeed(steps.hold);
}

async function runAudit(runner: JobRunner, turn: JobTurn, steps: StepWriter): Promise<void> {
  const { database, provisioner } = runner;
  const { id, ref } = await database.projects.byId(turn.projectId);
  await steps.begin('audit');
  const findings = await untilAborted(provisioner.audit({ projectId: id, ref }, turn.signal), turn.signal);
  await steps.finishThrough('audit');
  // Plain data: names, numbers and truth values.
  await database.jobs.succeed(steps.hold, findings as unknown as Json);
}

/** One code for the step; each check keeps its own beside its SQL. */
export function problemOfChecks(checks: readonly CheckResult[]): CodedProblem | undefined {
  const failed = checks.filter((check) => !check.ok);
  if (failed.length === 0) return undefined;
  return { code: 'SOURCE_PREFLIGHT_FAILED', details: { failed: failed.map((check) => check.check) } };
}

/** Work that does not heed the signal in time loses its hold on us, not we our shutdown to it. */
async function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = new Promise<never>((_, reject) => {
    const stop = () => reject(new Error('the control plane is stopping'));
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
  });
  aborted.catch(() => undefined);
  return await Promise.race([work, aborted]);
}

/** The visible steps of one turn. Beginning a step finishes those before it; none goes back. */
class StepWriter {
  readonly hold: JobHold;
  readonly #runner: JobRunner;
  #current: StepName | undefined;
  #checks: Json | undefined;
  #writtenAtMs = Number.NEGATIVE_INFINITY;

  constructor(runner: JobRunner, hold: JobHold) {
    this.#runner = runner;
    this.hold = hold;
  }

  async begin(name: StepName): Promise<void> {
    if (this.#current === name) return;
    await this.#finishCurrent();
    this.#current = name;
    this.#writtenAtMs = Number.NEGATIVE_INFINITY;
    await this.#runner.database.jobs.startStep(this.hold, name);
    await this.#runner.faultPoint?.(`step ${name} started`);
  }

  async report({ step, done, estimate }: ApplyProgress): Promise<void> {
    const { clock, database } = this.#runner;
    await this.begin(step);
    const nowMs = clock.monotonicMs();
    if (nowMs - this.#writtenAtMs < PROGRESS_INTERVAL_MS && done !== estimate) return;
    this.#writtenAtMs = nowMs;
    await database.jobs.reportStep(this.hold, step, { done, estimate });
  }

  /** They are written with the end of the step, whichever end it is. */
  keepChecks(checks: readonly CheckResult[]): void {
    this.#checks = checks as unknown as Json; // Plain data: strings and booleans.
  }

  /** Ends with the last step, also when nothing was reported of it. */
  async finishThrough(last: StepName): Promise<void> {
    await this.begin(last);
    await this.#finishCurrent();
  }

  async fail(problem: CodedProblem): Promise<void> {
    if (!this.#current) return;
    await this.#runner.database.jobs.failStep(this.hold, this.#current, problem, this.#takeChecks());
    this.#current = undefined;
  }

  async #finishCurrent(): Promise<void> {
    if (!this.#current) return;
    await this.#runner.database.jobs.finishStep(this.hold, this.#current, this.#takeChecks());
    await this.#runner.faultPoint?.(`step ${this.#current} finished`);
    this.#current = undefined;
  }

  #takeChecks(): Json | undefined {
    const checks = this.#checks;
    this.#checks = undefined;
    return checks;
  }
}
