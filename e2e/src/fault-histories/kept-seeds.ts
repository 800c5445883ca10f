import type { FaultName } from './catalogue.ts';

/** Histories that once failed, each with what was wrong. `npm test` runs all of them. */
export const KEPT_SEEDS: readonly { readonly seed: number; readonly fault: FaultName; readonly was: string }[] = [
  {
    seed: 2649934166,
    fault: 'store killed',
    was: 'a control database that did not answer stopped the project for a quarter of a minute',
  },
  {
    seed: 3141444268,
    fault: 'cut link to store',
    was: 'a link to the control database that was cut did so as well, in other words of the driver',
  },
  {
    seed: 3588114590,
    fault: 'two holders of a source',
    was: 'a process that was stopped in the middle of a transaction of the store kept its locks from its successor',
  },
  {
    seed: 3899378463,
    fault: 'two holders of a shard',
    was: 'a copy whose parts went to holders that had just lost their shards was silent for a quarter of a minute',
  },
];
