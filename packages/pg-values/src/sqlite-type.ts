import { PG_TYPE } from './type-oids.ts';

/** SQLite STRICT column types; ANY holds floats, whose NaN, infinities and -0 are text. */
export type SqliteType = 'INTEGER' | 'TEXT' | 'BLOB' | 'ANY';

/**
 * The column type that holds a Postgres type without loss. `typeOid` is the base type of a domain.
 * Whatever is not listed is text exactly as Postgres prints it: docs/types.md has the whole table.
 */
export function sqliteTypeOf(typeOid: number): SqliteType {
  switch (typeOid) {
    case PG_TYPE.bool:
    case PG_TYPE.int2:
    case PG_TYPE.int4:
    case PG_TYPE.int8:
    case PG_TYPE.oid:
      return 'INTEGER';
    case PG_TYPE.float4:
    case PG_TYPE.float8:
      return 'ANY';
    case PG_TYPE.bytea:
      return 'BLOB';
    default:
      return 'TEXT';
  }
}
