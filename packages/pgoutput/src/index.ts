export {
  appendInsertMessage,
  appendRelationMessage,
  COLUMNS_MAX,
  deleteFromTuple,
  insertFromTuple,
} from './append-message.ts';
export { CopyDataFrame, FRAME, formatStandbyStatus, readCopyData, type StandbyStatus } from './copy-data.ts';
export { insertFromCopyLine } from './insert-from-copy-line.ts';
export { MESSAGE, type MessageKind, messageKind } from './message-kind.ts';
export { pgUsFromUnixMs, unixMsFromPgUs } from './pg-time.ts';
export * from './read-message.ts';
export * from './row-message.ts';
