import { type Clock, delay } from '@sluice/domain';
import type { ManagementApi } from './management-api.ts';
import { DEMO_RULES_YAML } from './rules.ts';

export const DEMO_PROJECT_NAME = 'Departures';
export const DEMO_ISSUER = 'departures-demo';
export const DEMO_AUDIENCE = 'sluice:departures';
const POLL_MS = 250;

interface Step {
  readonly name: string;
  readonly state: string;
  readonly done: number;
  readonly estimate: number | null;
  readonly problem: { readonly code: string; readonly message: string; readonly remedy: string } | null;
}
interface Job {
  readonly jobNo: number;
  readonly state: string;
  readonly problem: Step['problem'];
  readonly steps: readonly Step[];
}
interface Project {
  readonly ref: string;
  readonly name: string;
  readonly activeRulesVersion: number | null;
  readonly latestJob: Job | null;
}

export interface DemoProjectOptions {
  readonly api: ManagementApi;
  readonly sourceUrl: string;
  readonly tokenSecret: string;
  readonly clock: Clock;
  readonly report: (line: string) => void;
  readonly signal: AbortSignal;
}

/** Makes the demo project, or finds it; goes on where an earlier start was killed. Answers its ref when it is live. */
export async function provisionDemo(options: DemoProjectOptions): Promise<string> {
  const { api } = options;
  const { projects } = (await api.call('GET', '/v1/projects')) as unknown as { projects: readonly Project[] }; // As OpenAPI has it.
  const found = projects.find((project) => project.name === DEMO_PROJECT_NAME);
  const { ref } =
    found ?? ((await api.call('POST', '/v1/projects', { name: DEMO_PROJECT_NAME })) as unknown as Project);
  const base = `/v1/projects/${ref}`;
  // The source's port may be another one than at the last start.
  await api.call('PUT', `${base}/source`, { connectionString: options.sourceUrl });
  await api.call('PUT', `${base}/client-auth`, {
    kind: 'shared-secret',
    secret: options.tokenSecret,
    issuer: DEMO_ISSUER,
    audience: [DEMO_AUDIENCE],
  });
  const active = found?.activeRulesVersion;
  // An earlier edition of the demo may have deployed others.
  const inForce = active ? await api.call('GET', `${base}/rules/${active}`) : undefined;
  if (inForce?.yaml === DEMO_RULES_YAML) return ref;
  const isUnderWay = found?.latestJob && ['queued', 'running'].includes(found.latestJob.state);
  if (!isUnderWay) {
    const rules = await api.call('POST', `${base}/rules`, { yaml: DEMO_RULES_YAML });
    if (rules.state !== 'validated') throw new Error(`the demo's rules: ${JSON.stringify(rules.diagnostics)}`);
    await api.call('POST', `${base}/rules/${String(rules.version)}/deploy`);
  }
  await untilLive(options, base, active ?? 0);
  return ref;
}

/** Until rules newer than `before` are in force. */
async function untilLive(
  { api, clock, report, signal }: DemoProjectOptions,
  base: string,
  before: number,
): Promise<void> {
  let shown = '';
  while (!signal.aborted) {
    const project = (await api.call('GET', base)) as unknown as Project;
    const job = project.latestJob;
    const line = job ? describe(job) : 'waiting for the provisioning job';
    if (line !== shown) report(`demo project: ${line}`);
    shown = line;
    if ((project.activeRulesVersion ?? 0) > before) return;
    if (job?.state === 'failed')
      throw new Error(`provisioning failed: ${job.problem?.code} ${job.problem?.message} ${job.problem?.remedy}`);
    await delay(clock, POLL_MS, signal);
  }
}

function describe(job: Job): string {
  const step = job.steps.find(({ state }) => state === 'running' || state === 'failed');
  if (!step) return job.state;
  if (step.estimate === null) return step.name;
  return `${step.name} ${step.done.toLocaleString('en')} of about ${step.estimate.toLocaleString('en')} rows`;
}
