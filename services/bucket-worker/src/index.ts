export { type BucketWorker, type BucketWorkerOptions, createBucketWorker } from './app.ts';
export { createFrameEvaluator, type FrameEvaluator, type FrameResult } from './apply/evaluate-frame.ts';
export type { SchemaMismatch } from './apply/relation-bindings.ts';
export {
  createHousekeeper,
  defaultHousekeeping,
  type Housekeeper,
  type HousekeeperOptions,
  type HousekeepingSettings,
} from './housekeeper.ts';
