/** OIDs of built-in types (PostgreSQL source, src/include/catalog/pg_type.dat); they are the same in every version. */
export const PG_TYPE = {
  bool: 16,
  bytea: 17,
  name: 19,
  int8: 20,
  int2: 21,
  int4: 23,
  text: 25,
  oid: 26,
  float4: 700,
  float8: 701,
  timestamptz: 1184,
  varchar: 1043,
  uuid: 2950,
} as const;
