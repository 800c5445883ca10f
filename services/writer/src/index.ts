export { createWriter, type Writer, type WriterOptions } from './app.ts';
export { defaultPoolLimits, type PoolLimits } from './source/source-pools.ts';
