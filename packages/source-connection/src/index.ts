export { clientConfig, type SourceConnection, sourceConnectionFromUrl } from './connection.ts';
export { connectError, SQLSTATE, sourceError, sqlstateOf } from './source-error.ts';
