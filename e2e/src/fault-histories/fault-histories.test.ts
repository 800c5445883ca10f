import { randomBytes } from 'node:crypto';
import { randomFrom, testConfig } from '@sluice/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FAULT_NAMES, type FaultName, planOf, seedFor } from './catalogue.ts';
import { FaultStage } from './fault-stage.ts';
import { FaultTally } from './fault-tally.ts';
import { KEPT_SEEDS } from './kept-seeds.ts';
import { type HistoryOutcome, runFaultHistory } from './run-fault-history.ts';

const { lane, seed } = testConfig();
const SHORT_LANE_HISTORIES = 3;
const LONG_LANE_HISTORIES = 500;
/** A history is drawn again so often when its fault hit nothing. */
const DRAWS_MAX = 6;
const HISTORY_MS_MAX = 240_000;
/** The long lane goes on after a failure, but not for ever. */
const FAILURES_MAX = 10;

const tally = new FaultTally();
let stage: FaultStage | undefined;

async function staged(): Promise<FaultStage> {
  stage ??= await FaultStage.start();
  return stage;
}
async function run(seedOfHistory: number): Promise<HistoryOutcome> {
  const { faults, shards } = planOf(seedOfHistory, randomFrom(seedOfHistory));
  process.stdout.write(`SLUICE_SEED=${seedOfHistory}: ${faults.join(' and ')}, ${shards} shards\n`);
  const begunMs = performance.now();
  const outcome = await runFaultHistory(await staged(), seedOfHistory);
  const effects = outcome.faults.map(({ name, effect }) => effect ?? `no effect: ${name}`).join('; ');
  const tookS = ((performance.now() - begunMs) / 1000).toFixed(1);
  process.stdout.write(`  ${effects}; converged in ${Math.round(outcome.convergedMs)} ms, ${tookS} s in all\n`);
  return outcome;
}

const anySeed = (name: FaultName): number => seedFor(name, randomBytes(4).readUInt32LE(0));

/** Runs histories of the kind until one counts. */
async function runOneThatCounts(name: FaultName, first: number): Promise<void> {
  for (let draws = 1, next = first; ; draws++, next = anySeed(name)) {
    if (tally.add(await run(next))) return;
    if (draws === DRAWS_MAX) throw new Error(`${name} had no effect in ${DRAWS_MAX} histories`);
  }
}

/** Those of the stage that is there: a disk that can be filled asks for more than every machine allows. */
async function possible(): Promise<readonly FaultName[]> {
  const { disk } = await staged();
  if (disk) return FAULT_NAMES;
  process.stdout.write('no disk can be mounted here: store disk full is left out\n');
  return FAULT_NAMES.filter((name) => name !== 'store disk full');
}

/** One seed for each of the kinds, those with the same number of shards beside each other: changing it restarts processes. */
function drawn(names: readonly FaultName[]): { readonly name: FaultName; readonly seed: number }[] {
  const draws = names.map((name) => ({ name, seed: anySeed(name) }));
  const shardsOf = (of: number): number => planOf(of, randomFrom(of)).shards;
  return draws.toSorted((a, b) => shardsOf(a.seed) - shardsOf(b.seed));
}

/** What this lane runs beside the kept seeds. */
interface LaneRun {
  readonly name: string;
  readonly histories: number;
  readonly run: () => Promise<void>;
}

const replay = (seedOfHistory: number): LaneRun => ({
  name: 'the history of SLUICE_SEED',
  histories: 1,
  run: async () => void tally.add(await run(seedOfHistory)),
});

const shortLane: LaneRun = {
  name: 'a sample of all faults',
  histories: SHORT_LANE_HISTORIES,
  run: async () => {
    const names = randomFrom(randomBytes(4).readUInt32LE(0)).shuffle(await possible());
    for (const { name, seed: first } of drawn(names.slice(0, SHORT_LANE_HISTORIES)))
      await runOneThatCounts(name, first);
    expect(tally.histories).toBeGreaterThanOrEqual(SHORT_LANE_HISTORIES);
  },
};

const longLane: LaneRun = {
  name: '500 histories',
  histories: LONG_LANE_HISTORIES,
  run: async () => {
    const failures: unknown[] = [];
    while (tally.histories < LONG_LANE_HISTORIES && failures.length < FAILURES_MAX) {
      for (const { name, seed: first } of drawn(await possible())) {
        if (tally.histories >= LONG_LANE_HISTORIES || failures.length >= FAILURES_MAX) break;
        try {
          await runOneThatCounts(name, first);
        } catch (error) {
          failures.push(error);
          process.stdout.write(`${error instanceof Error ? error.message : String(error)}\n`);
        }
      }
      process.stdout.write(`${tally.text()}\n`);
    }
    expect(failures).toEqual([]);
  },
};

function laneRun(): LaneRun {
  if (seed !== undefined) return replay(seed);
  return lane === 'long' ? longLane : shortLane;
}

describe('L2, L3, L4, L12, L13: whatever fails while users work, clients show what SQL gives, nothing more, and heal by themselves', () => {
  const { name, histories, run: runLane } = laneRun();
  beforeAll(async () => void (await staged()), HISTORY_MS_MAX);
  afterAll(async () => {
    process.stdout.write(`${tally.text()}\n`);
    await stage?.[Symbol.asyncDispose]();
  }, HISTORY_MS_MAX);

  it.each(seed === undefined ? KEPT_SEEDS : [])('kept seed $seed: $was', { timeout: HISTORY_MS_MAX }, async (kept) => {
    expect(planOf(kept.seed, randomFrom(kept.seed)).faults).toContain(kept.fault);
    tally.add(await run(kept.seed));
  });

  it(name, { timeout: histories * HISTORY_MS_MAX }, runLane);
});
