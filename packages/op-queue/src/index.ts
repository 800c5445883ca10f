export * from './frame.ts';
export * from './port.ts';
