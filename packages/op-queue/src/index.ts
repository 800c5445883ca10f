export * from './frame.ts';
export * from './port.ts';
export * from './records.ts';
