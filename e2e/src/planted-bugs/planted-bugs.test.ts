import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { freshCluster, randomFrom, testConfig } from '@sluice/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ScenarioName } from './planted-bug.ts';
import { plantedText } from './planted-text.ts';
import { type PlantedRun, runPlanted } from './run-planted.ts';
import { BUGS } from './the-bugs.ts';

const ROOT = path.resolve(import.meta.dirname, '../../..');
const { lane, seed } = testConfig();
const random = randomFrom(seed ?? randomBytes(4).readUInt32LE(0));
const isLong = lane === 'long';

/** Within so many histories a bug must be caught. */
const HISTORIES_MAX = 12;
/** Of every scenario, on the product as it is. */
const CONTROL_HISTORIES = isLong ? 10 : 1;
const SHORT_LANE_BUGS = 1;
const RUN_MS = 12 * 60_000;
/** Histories mostly wait, and those of the short lane are few. */
const side = isLong ? it : it.concurrent;

const common = BUGS.filter(({ isRare }) => !isRare);
const sampled = isLong ? BUGS : random.shuffle(common).slice(0, SHORT_LANE_BUGS);

type Cluster = Awaited<ReturnType<typeof freshCluster>>;
let stores: Cluster;
let sources: Cluster;
beforeAll(async () => {
  process.stdout.write(`SLUICE_SEED=${random.seed}\n`);
  stores = await freshCluster({ wal_level: 'replica' });
  sources = await freshCluster();
});
afterAll(async () => {
  await stores?.[Symbol.asyncDispose]();
  await sources?.[Symbol.asyncDispose]();
});

function run(of: Pick<PlantedRun, 'bug' | 'scenario' | 'histories'>): ReturnType<typeof runPlanted> {
  return runPlanted({ ...of, firstSeed: random.seed, storeUrl: stores.url, sourceUrl: sources.url });
}

describe('planted bugs', () => {
  it.each(BUGS.map((bug) => [bug.name, bug] as const))('%s: stands where it can be planted', (_, { edits }) => {
    for (const edit of edits) {
      const text = readFileSync(path.join(ROOT, edit.file), 'utf8');
      expect(plantedText(text, edit)).not.toBe(text);
      if (edit.file.endsWith('.sql')) expect(laterDefinition(edit.file, text, edit.find)).toBeUndefined();
    }
  });

  const scenarios: readonly ScenarioName[] = isLong
    ? [...new Set(BUGS.map(({ scenario }) => scenario))]
    : [random.pick(sampled).scenario];
  side.each(scenarios)('finds nothing where nothing is planted: %s', { timeout: RUN_MS }, async (scenario) => {
    const outcome = await run({ bug: undefined, scenario, histories: CONTROL_HISTORIES });
    expect(outcome).toEqual({ kind: 'not caught', histories: CONTROL_HISTORIES });
  });

  const named = sampled.map((bug) => [bug.law, bug.name, bug] as const);
  side.each(named)('%s: is caught when %s', { timeout: RUN_MS }, async (_, name, { scenario }) => {
    const outcome = await run({ bug: name, scenario, histories: HISTORIES_MAX });
    const said = outcome.kind === 'caught' ? outcome.by.split('\n').slice(0, 2).join(' ').slice(0, 200) : 'nothing';
    process.stdout.write(`${name}: history ${outcome.histories}: ${said}\n`);
    expect(outcome.kind).toBe('caught');
  });
});

/** A migration after `file` that defines the function anew which holds the text: the text would no longer be what runs. */
function laterDefinition(file: string, text: string, find: string): string | undefined {
  const folder = path.join(ROOT, path.dirname(file));
  const definitions = [...text.slice(0, text.indexOf(find)).matchAll(/function (sluice_store\.\w+)/g)];
  const name = definitions.at(-1)?.[1];
  if (name === undefined) return 'no function holds it';
  const definesAnew = new RegExp(`create (or replace )?function ${name}\\(`);
  return readdirSync(folder)
    .filter((other) => other.endsWith('.sql') && other > path.basename(file))
    .find((other) => definesAnew.test(readFileSync(path.join(folder, other), 'utf8')));
}
