export { type CellEncoder, cellEncoderFor } from './cell-encoder.ts';
export * from './param.ts';
export * from './pinned-settings.ts';
export { type SqliteType, sqliteTypeOf } from './sqlite-type.ts';
export { PG_TYPE } from './type-oids.ts';
