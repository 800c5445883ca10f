export * from './bytes.ts';
export * from './cells.ts';
export * from './checkpoint.ts';
export * from './clock.ts';
export * from './hash.ts';
export * from './ids.ts';
export * from './position.ts';
