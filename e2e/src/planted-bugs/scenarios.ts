import { randomFrom, type SeededRandom } from '@sluice/testkit';
import { RANDOM_USERS } from '../random/random-tables.ts';
import { type HistoryOptions, runHistory } from '../random/run-history.ts';
import { unrulyQueues } from '../random/unruly-queues.ts';
import { type Stack, type StackOptions, startStack } from '../stack/stack.ts';
import { brokenGrants } from './broken-grants.ts';
import { copyUnderLoad } from './copy-under-load.ts';
import { damagedStore } from './damaged-store.ts';
import { fullDisk } from './full-disk.ts';
import { expectLateClientsEqual } from './late-clients.ts';
import type { ScenarioName } from './planted-bug.ts';
import { staleFrames } from './stale-frames.ts';
import { truncateAndCompact } from './truncate-and-compact.ts';

/** Histories one after the other, on servers that somebody else ends. */
export interface RunningScenario extends AsyncDisposable {
  /** Runs one. @throws Finding, or an error that is caused by one, when the product is wrong */
  run(random: SeededRandom, name: string): Promise<void>;
}
export interface ScenarioServers {
  /** Of the store. */
  readonly storeUrl: string;
}
type Scenario = (servers: ScenarioServers) => Promise<RunningScenario>;

/** Transactions span frames, and copies have parts. */
const SMALL_FRAMES = { frameBytesMax: 16 << 10, partBytesMax: 16 << 10 };
/** What nobody needs any more goes at once; clients that are away for a moment still find their changes. */
const BUSY_HOUSEKEEPING = { roundMs: 50, share: 1, readableMs: 100, retentionMs: 10_000 };
const DAY_MS = 86_400_000;
/** A lost frame is noticed at the next one. */
const HEARTBEAT_MS = 300;

const SCENARIOS: Readonly<Record<ScenarioName, Scenario>> = {
  history: (servers) => histories(servers, {}, { keepsTables: true, keepsEpoch: true }),
  'history in small frames': (servers) =>
    histories(servers, { tuning: SMALL_FRAMES }, { keepsTables: true, keepsEpoch: true }),
  'sharded history': (servers) => histories(servers, {}, { keepsTables: true, shards: 4 }),
  'compacted history': (servers) =>
    histories(
      servers,
      { housekeeping: BUSY_HOUSEKEEPING, heartbeatMs: HEARTBEAT_MS },
      {
        keepsTables: true,
        atEnd: (stack, tenant) => expectLateClientsEqual(stack, tenant, RANDOM_USERS),
      },
    ),
  'history over unruly queues': unrulyHistories,
  'truncate and compact': (servers) =>
    inStack(
      servers,
      { housekeeping: { ...BUSY_HOUSEKEEPING, retentionMs: DAY_MS }, heartbeatMs: HEARTBEAT_MS },
      truncateAndCompact,
    ),
  'broken grants': (servers) => inStack(servers, {}, brokenGrants),
  'copy under load': async () => ({ run: copyUnderLoad, [Symbol.asyncDispose]: async () => {} }),
  'full disk': (servers) => inStack(servers, {}, fullDisk),
  'damaged store': (servers) => inStack(servers, {}, damagedStore),
  'stale frames': (servers) => staleFrames(servers),
};

export function beginScenario(name: string, servers: ScenarioServers): Promise<RunningScenario> {
  const scenario = Object.entries(SCENARIOS).find(([known]) => known === name)?.[1];
  if (!scenario) throw new RangeError(`there is no scenario "${name}"`);
  return scenario(servers);
}

async function unrulyHistories(servers: ScenarioServers): Promise<RunningScenario> {
  const queues = unrulyQueues(randomFrom(1));
  const options = { queues, heartbeatMs: HEARTBEAT_MS };
  const running = await histories(servers, options, { keepsTables: true, keepsEpoch: true });
  return {
    ...running,
    async run(random, name) {
      const before = queues.deeds();
      await running.run(random, name);
      if (queues.deeds() === before) throw new Error('the queues were never unruly');
    },
  };
}

function histories(servers: ScenarioServers, options: StackOptions, history: HistoryOptions): Promise<RunningScenario> {
  return inStack(servers, options, (stack, random, name) => runHistory(stack, random, name, history));
}

async function inStack(
  { storeUrl }: ScenarioServers,
  options: StackOptions,
  history: (stack: Stack, random: SeededRandom, name: string) => Promise<void>,
): Promise<RunningScenario> {
  const stack = await startStack({ ...options, storeCluster: { url: storeUrl } });
  return {
    run: (random, name) => history(stack, random, name),
    [Symbol.asyncDispose]: () => stack[Symbol.asyncDispose](),
  };
}
