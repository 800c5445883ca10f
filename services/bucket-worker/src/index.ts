export { type BucketWorker, type BucketWorkerOptions, createBucketWorker } from './app.ts';
export { createFrameEvaluator, type FrameEvaluator, type FrameResult } from './apply/evaluate-frame.ts';
export type { SchemaMismatch } from './apply/relation-bindings.ts';
