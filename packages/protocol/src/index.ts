export * from './chunk.ts';
export * from './codec.ts';
export * from './json.ts';
export * from './messages.ts';
export * from './mutations.ts';
