import type { JobTimings } from '../jobs/job-queue.ts';

/** Timings for tests, which kill processes and wait for the next one to notice. */
export const IMPATIENT: JobTimings = { lockMs: 2_000, lookForDeadMs: 1_000, sweepMs: 2_000 };
