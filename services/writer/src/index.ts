export { createWriter, type Writer, type WriterOptions } from './app.ts';
export type { Upload, UploadAnswer, WritesState } from './model.ts';
export { defaultPoolLimits, type PoolLimits } from './source/source-pools.ts';
