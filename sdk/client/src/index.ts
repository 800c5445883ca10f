export { type ClientOptions, createClient } from './browser/create-client.ts';
export * from './types.ts';
