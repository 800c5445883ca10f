import type { SeededRandom } from '@sluice/testkit';
import { controlPlaneEnds } from './faults/control-plane-faults.ts';
import type { MakeFault } from './faults/fault.ts';
import { twoHolders } from './faults/lease-faults.ts';
import { linkCut, linkHalfOpen } from './faults/link-faults.ts';
import { gatewayEnds, gatewayFreezes, holderEnds, holderFreezes } from './faults/process-faults.ts';
import { framesMissing, framesReordered, framesRepeated } from './faults/queue-faults.ts';
import { redisFlushed, redisFull, redisKilled } from './faults/redis-faults.ts';
import { slotDropped, slotLost, sourceKilled } from './faults/source-faults.ts';
import { storeDiskFull, storeKilled } from './faults/store-faults.ts';

interface Kind {
  readonly make: MakeFault;
  /** Where it strikes; one on each side may strike together. */
  readonly side: 'pipeline' | 'clients' | 'alone';
}

/** A seed names a kind by its place, so new ones go to the end. */
const KINDS = {
  'kill replicator': { make: holderEnds('replicator', 'SIGKILL'), side: 'pipeline' },
  'kill bucket worker': { make: holderEnds('bucket-worker', 'SIGKILL'), side: 'pipeline' },
  'kill gateway': { make: gatewayEnds('SIGKILL'), side: 'clients' },
  'kill control plane': { make: controlPlaneEnds('SIGKILL'), side: 'alone' },
  'restart replicator': { make: holderEnds('replicator', 'SIGTERM'), side: 'pipeline' },
  'restart bucket worker': { make: holderEnds('bucket-worker', 'SIGTERM'), side: 'pipeline' },
  'restart gateway': { make: gatewayEnds('SIGTERM'), side: 'clients' },
  'restart control plane': { make: controlPlaneEnds('SIGTERM'), side: 'alone' },
  'freeze replicator': { make: holderFreezes('replicator'), side: 'pipeline' },
  'freeze bucket worker': { make: holderFreezes('bucket-worker'), side: 'pipeline' },
  'freeze gateway': { make: gatewayFreezes, side: 'clients' },
  'cut link to source': { make: linkCut('source'), side: 'pipeline' },
  'cut link to store': { make: linkCut('store'), side: 'pipeline' },
  'cut link to redis': { make: linkCut('redis'), side: 'pipeline' },
  'cut link to client': { make: linkCut('client'), side: 'clients' },
  'half-open link to source': { make: linkHalfOpen('source'), side: 'pipeline' },
  'half-open link to store': { make: linkHalfOpen('store'), side: 'pipeline' },
  'half-open link to redis': { make: linkHalfOpen('redis'), side: 'pipeline' },
  'half-open link to client': { make: linkHalfOpen('client'), side: 'clients' },
  'redis flushed': { make: redisFlushed, side: 'pipeline' },
  'redis killed': { make: redisKilled, side: 'pipeline' },
  'redis full': { make: redisFull, side: 'pipeline' },
  'store killed': { make: storeKilled, side: 'pipeline' },
  'store disk full': { make: storeDiskFull, side: 'alone' },
  'source killed': { make: sourceKilled, side: 'pipeline' },
  'slot dropped': { make: slotDropped, side: 'pipeline' },
  'slot lost': { make: slotLost, side: 'pipeline' },
  'frames repeated': { make: framesRepeated, side: 'pipeline' },
  'frames reordered': { make: framesReordered, side: 'pipeline' },
  'frames missing': { make: framesMissing, side: 'pipeline' },
  'two holders of a source': { make: twoHolders('replicator'), side: 'pipeline' },
  'two holders of a shard': { make: twoHolders('bucket-worker'), side: 'pipeline' },
} as const satisfies Readonly<Record<string, Kind>>;

export type FaultName = keyof typeof KINDS;
// The keys are the ones written above.
export const FAULT_NAMES = Object.keys(KINDS) as readonly FaultName[];

const SECOND_FAULT_CHANCE = 0.3;
const SHARDS = [1, 1, 4];

export function makeFault(name: FaultName): MakeFault {
  return KINDS[name].make;
}

/** What a history is about, before anything happens; a function of its seed. */
export interface HistoryPlan {
  readonly seed: number;
  readonly faults: readonly FaultName[];
  readonly shards: number;
}

export function planOf(seed: number, random: SeededRandom): HistoryPlan {
  const first = FAULT_NAMES[seed % FAULT_NAMES.length] as FaultName; // The remainder is one of its places.
  const shards = random.pick(SHARDS);
  const { side } = KINDS[first];
  const others = FAULT_NAMES.filter((name) => side !== 'alone' && KINDS[name].side === otherSide(side));
  const isTwo = random.chance(SECOND_FAULT_CHANCE);
  const second = others.length > 0 ? random.pick(others) : undefined;
  const faults = isTwo && second ? [first, second] : [first];
  // Clients lose their gateway first: what strikes the pipeline then ends before they have it back.
  return { seed, shards, faults: faults.toSorted((a) => (KINDS[a].side === 'clients' ? -1 : 1)) };
}

function otherSide(side: 'pipeline' | 'clients'): 'pipeline' | 'clients' {
  return side === 'clients' ? 'pipeline' : 'clients';
}

/** A seed of a history whose first fault is of the kind; `any` is a whole number of 32 bits. */
export function seedFor(name: FaultName, any: number): number {
  const count = FAULT_NAMES.length;
  const floor = any - (any % count);
  return Math.max(0, floor > 2 ** 32 - count ? floor - count : floor) + FAULT_NAMES.indexOf(name);
}
