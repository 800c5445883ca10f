import type { ProjectId } from '@sluice/domain';
import { afterAll, beforeAll, describe } from 'vitest';
import type { BucketStore } from '../port.ts';
import { describeEpochs } from './epochs.conformance.ts';
import { describeErasing } from './erasing.conformance.ts';
import { describeFrames } from './frames.conformance.ts';
import { describeLeases } from './leases.conformance.ts';
import { describeReads } from './reads.conformance.ts';
import { describeRowStates } from './row-states.conformance.ts';
import { describeShards } from './shards.conformance.ts';
import { describeSnapshots } from './snapshots.conformance.ts';

export interface StoreUnderTest {
  readonly store: BucketStore;
  /** Lets the store's time pass, so that leases expire. */
  passMs(ms: number): Promise<void>;
  close(): Promise<void>;
}
export interface SuiteContext {
  readonly store: () => BucketStore;
  readonly passMs: (ms: number) => Promise<void>;
  /** A project that nobody has used. */
  readonly project: () => ProjectId;
}

export * from './store-driver.ts';

/** What every bucket store keeps: the port's contract, law by law. One store serves the whole suite. */
export function describeBucketStore(name: string, create: () => Promise<StoreUnderTest>): void {
  describe(`bucket store conformance: ${name}`, () => {
    let subject: StoreUnderTest | undefined;
    let projects = 0;
    beforeAll(async () => {
      subject = await create();
    });
    afterAll(async () => subject?.close());
    const present = (): StoreUnderTest => {
      if (!subject) throw new Error('the store under test was not made');
      return subject;
    };
    const context: SuiteContext = {
      store: () => present().store,
      passMs: (ms) => present().passMs(ms),
      project: () => ++projects as ProjectId,
    };
    describeLeases(context);
    describeShards(context);
    describeEpochs(context);
    describeFrames(context);
    describeSnapshots(context);
    describeRowStates(context);
    describeReads(context);
    describeErasing(context);
  });
}
