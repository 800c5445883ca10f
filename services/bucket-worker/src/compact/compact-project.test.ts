import { createMemoryBucketStore } from '@sluice/bucket-store';
import { manualClock } from '@sluice/testkit';
import { describeCompaction } from './compaction.fixture.ts';

describeCompaction('memory', async () => {
  const store = createMemoryBucketStore(manualClock());
  return {
    store,
    rounds: 4,
    packs: false,
    dump: async (project) => {
      const texts: string[] = [];
      for (const { stream } of await store.readStreams(project)) {
        const window = { stream, readFrom: (1n << 62n) as never, after: undefined, bucketsMax: 1000 };
        const { readFrom } = window;
        const buckets = ['1', '2', '3', '4'].map((n) => n.padStart(32, '0') as never);
        const outlines = await store.readOutlines(project, { stream, readFrom, buckets });
        for (const chunk of await store.readExactChunks(project, stream, outlines))
          texts.push(Buffer.from(chunk.payload).toString('latin1'));
      }
      return texts.join();
    },
    close: () => store.close(),
  };
});
