import { query, randomFrom, type SeededRandom, tcpProxy, waitFor } from '@sluice/testkit';
import { PrefixCheck } from '../oracle/prefix-check.ts';
import { differences } from '../oracle/table-state.ts';
import { mixedWriters } from '../processes/writers-log.ts';
import { RandomStatements } from '../random/random-statements.ts';
import { RANDOM_STREAMS, RANDOM_USERS, randomTablesSql } from '../random/random-tables.ts';
import { type FaultName, type HistoryPlan, makeFault, planOf } from './catalogue.ts';
import type { FaultStage } from './fault-stage.ts';
import type { Fault } from './faults/fault.ts';
import { Scene } from './scene.ts';

/** P5: from when the last fault ends, with nobody writing or reconnecting. */
const CONVERGES_WITHIN_MS = 10_000;
/** Reading all clients once takes some 100 ms; what takes longer was other work of the machine, and slowed the services as well. */
const LOOK_MS_MAX = 250;
const DEVICES = 3;

/** What came of one fault; `effect` is undefined when it hit nothing. */
export interface FaultOutcome {
  readonly name: FaultName;
  readonly effect: string | undefined;
}
export interface HistoryOutcome {
  readonly plan: HistoryPlan;
  readonly faults: readonly FaultOutcome[];
  readonly commits: number;
  /** States that were read from clients and compared with SQL. */
  readonly judged: number;
  readonly convergedMs: number;
}

/**
 * One history over real processes: a random workload, clients that are read at each checkpoint, faults in the middle of it.
 * @throws Error that says what was lost, doubled, leaked, shown half or did not heal, with seed, steps and logs
 */
export async function runFaultHistory(stage: FaultStage, seed: number): Promise<HistoryOutcome> {
  const random = randomFrom(seed);
  const plan = planOf(seed, random);
  await stage.prepare(plan.shards);
  const scene = await openScene(stage, plan, random);
  try {
    const outcome = await play(scene, plan);
    await closeScene(scene);
    return outcome;
  } catch (error) {
    const steps = scene.trail.map((step) => (step.length > 1_000 ? `${step.slice(0, 1_000)} ...` : step)).join('\n');
    const told = `SLUICE_SEED=${seed} (${plan.faults.join(', ')}; ${plan.shards} shards), after these steps:\n${steps}`;
    const message = error instanceof Error ? error.message : String(error);
    const failure = new Error(`${message}\n${told}\n${stage.platform.log}`, { cause: error });
    await putRight(scene);
    throw failure;
  }
}

async function openScene(stage: FaultStage, plan: HistoryPlan, random: SeededRandom): Promise<Scene> {
  const { platform, sources } = stage;
  const customer = await platform.addCustomer(`seed-${plan.seed}`, randomTablesSql(random), RANDOM_STREAMS, {
    cluster: sources,
  });
  const check = await PrefixCheck.begin(customer, RANDOM_USERS);
  const statements = new RandomStatements(random);
  const scene = new Scene({ stage, customer, check, random, statements, shards: plan.shards });
  for (const claims of random.shuffle(RANDOM_USERS).slice(0, DEVICES)) {
    const link = await tcpProxy({ port: platform.gatewayPort });
    const client = await customer.connect(claims, { isTapped: true, gatewayPort: link.port });
    check.watch(client);
    scene.devices.push({ client, link });
  }
  return scene;
}

/** Others come after it. */
async function putRight(scene: Scene): Promise<void> {
  const { stage, customer } = scene;
  customer.link?.heal();
  await stage.recover();
  await customer.reconnectToSource();
  await closeScene(scene);
}

async function closeScene(scene: Scene): Promise<void> {
  for (const { link } of scene.devices) await link[Symbol.asyncDispose]();
  await scene.platform.removeCustomer(scene.customer);
  await query(scene.platform.storeUrl, 'truncate applied_by');
}

async function play(scene: Scene, plan: HistoryPlan): Promise<HistoryOutcome> {
  await converges(scene);
  await scene.commitSome(1, 4);
  const faults = plan.faults.map((name) => ({ name, fault: makeFault(name)(scene) }));
  for (const { name, fault } of faults) {
    scene.note(`begin: ${name}`);
    await fault.begin();
  }
  await scene.commitSome(2, 6);
  await endAll(scene, faults);
  const convergedMs = await converges(scene);
  await expectSound(scene);
  const outcomes: FaultOutcome[] = [];
  for (const { name, fault } of faults) outcomes.push({ name, effect: await fault.effect() });
  return { plan, faults: outcomes, commits: scene.commits, judged: scene.check.judged, convergedMs };
}

/** In the order opposite to their begin. */
async function endAll(
  scene: Scene,
  faults: readonly { readonly name: FaultName; readonly fault: Fault }[],
): Promise<void> {
  for (const { name, fault } of faults.toReversed()) {
    scene.note(`end: ${name}`);
    await fault.end();
  }
}

/** Waits, doing nothing, until every client shows what SQL gives; resolves to how long that took. */
async function converges(scene: Scene): Promise<number> {
  const { customer, devices } = scene;
  const begunMs = performance.now();
  const claims = devices.map(({ client }) => client.claims);
  const wanted = await customer.oracle.statesOf(claims, customer.streams);
  const isEqual = async (): Promise<boolean> => {
    for (const [i, { client }] of devices.entries()) {
      const found = differences(wanted[i] ?? new Map(), await client.state(customer.streams));
      if (found.length > 0)
        throw new Error(`${client.claims.sub} (${JSON.stringify(client.sdk.status())}) differs: ${found.join('\n')}`);
    }
    return true;
  };
  await waitFor(isEqual, {
    what: 'every client to equal SQL',
    timeoutMs: CONVERGES_WITHIN_MS,
    intervalMs: 50,
    countedMsMax: LOOK_MS_MAX,
  });
  scene.note('every client equals SQL');
  return performance.now() - begunMs;
}

/** @throws Error that says what a client showed or was sent and should not, who wrote out of turn, or who crashed */
async function expectSound(scene: Scene): Promise<void> {
  const { check, devices, platform } = scene;
  const problems = [...check.problems(), ...devices.flatMap(({ client }) => check.leaks(client))];
  for (const { client } of devices) {
    const verified = await client.sdk.verify();
    problems.push(...verified.problems.map((problem) => `${client.claims.sub}: ${problem}`));
  }
  if (check.judged === 0) problems.push('no client was read at any checkpoint');
  for (const mixed of await mixedWriters(platform.storeUrl))
    problems.push(`written under one lease by several, or out of turn: ${JSON.stringify(mixed)}`);
  for (const { label } of platform.crashed) problems.push(`${label} ended by itself`);
  if (problems.length > 0) throw new Error(problems.slice(0, 10).join('\n'));
}
