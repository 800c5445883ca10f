export * from './bucket-id.ts';
export * from './port.ts';
