export { type BucketWorker, type BucketWorkerOptions, createBucketWorker } from './app.ts';
export { type EvaluatedFrame, FrameEvaluator } from './apply/frame-evaluator.ts';
