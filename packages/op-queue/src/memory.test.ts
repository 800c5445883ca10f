import { createMemoryOpQueue } from './memory-op-queue.ts';
import { createMemoryWakeUps } from './memory-wake-ups.ts';
import { describeOpQueue, describeWakeUps } from './testing/conformance.ts';

const close = async (): Promise<void> => {};
const settled = close;
describeOpQueue('memory', async (bytesMaxPerShard) => ({ queue: createMemoryOpQueue({ bytesMaxPerShard }), close }));
describeWakeUps('memory', async () => ({ wakeUps: createMemoryWakeUps(), settled, close }));
