import { manualClock } from '@sluice/testkit';
import { describeBucketStore } from '../testing/conformance.ts';
import { createMemoryBucketStore } from './memory-bucket-store.ts';

describeBucketStore('memory', async () => {
  const clock = manualClock();
  return { store: createMemoryBucketStore(clock), passMs: (ms) => clock.advance(ms), close: async () => {} };
});
