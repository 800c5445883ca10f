import type { Catalog, CatalogColumn, CatalogTable } from './plan.ts';

interface ColumnOptions {
  readonly typmod?: number;
  readonly notNull?: boolean;
  readonly generated?: boolean;
  readonly nondeterministicCollation?: boolean;
  readonly baseTypeOid?: number;
  readonly typeKind?: string;
}

/** OIDs of built-in types, and of the fixture's own above 16384. */
const OIDS: Readonly<Record<string, number>> = {
  bool: 16,
  bytea: 17,
  bigint: 20,
  smallint: 21,
  integer: 23,
  text: 25,
  json: 114,
  'double precision': 701,
  'character(3)': 1042,
  'character varying(20)': 1043,
  'timestamp with time zone': 1184,
  numeric: 1700,
  uuid: 2950,
  citext: 16_400,
  mood: 16_401,
  email: 16_402,
};

export function column(name: string, pgType: string, options: ColumnOptions = {}): CatalogColumn {
  const typeOid = OIDS[pgType] ?? 16_999;
  return {
    name,
    typeOid,
    typmod: pgType === 'character varying(20)' ? 24 : -1,
    pgType,
    notNull: false,
    generated: false,
    nondeterministicCollation: false,
    baseTypeOid: typeOid,
    typeKind: 'b',
    ...options,
  };
}

export function table(
  name: string,
  columns: readonly CatalogColumn[],
  options: Partial<Omit<CatalogTable, 'name' | 'columns'>> = {},
): CatalogTable {
  let oid = 20_000;
  for (const char of name) oid = (oid * 31 + char.charCodeAt(0)) % 1_000_003;
  return {
    schema: 'public',
    name,
    oid,
    kind: 'r',
    persistence: 'permanent',
    replicaIdentity: 'full',
    columns,
    primaryKey: ['id'],
    identityKey: ['id'],
    hasInheritors: false,
    partitionOf: undefined,
    ...options,
  };
}

/** A source with every kind of table and column that the compiler tells apart. */
export const catalog: Catalog = {
  tables: [
    table('tasks', [
      column('id', 'uuid'),
      column('title', 'text'),
      column('owner_id', 'uuid'),
      column('team_id', 'integer'),
      column('status', 'character varying(20)'),
      column('done', 'bool'),
      column('mood', 'mood', { typeKind: 'e' }),
      column('deleted_at', 'timestamp with time zone'),
      column('price', 'numeric'),
      column('score', 'double precision'),
      column('code', 'character(3)'),
      column('nick', 'citext'),
      column('folded', 'text', { nondeterministicCollation: true }),
      column('email', 'email', { baseTypeOid: 25 }),
      column('doc', 'json'),
    ]),
    table('team_members', [
      column('id', 'bigint'),
      column('team_id', 'bigint'),
      column('user_id', 'uuid'),
      column('role', 'text'),
      column('mood', 'mood', { typeKind: 'e' }),
      column('left_at', 'timestamp with time zone'),
    ]),
    table('Große Äpfel', [column('id', 'integer'), column('größe', 'text'), column('Größe', 'text')]),
    table('no_key', [column('id', 'integer')], { primaryKey: [] }),
    table('float_key', [column('id', 'double precision')]),
    table('pair_key', [column('note', 'text'), column('b', 'integer'), column('a', 'text')], {
      primaryKey: ['a', 'b'],
    }),
    table('with_generated', [column('id', 'integer'), column('twice', 'integer', { generated: true })]),
    table('orders', [column('id', 'integer')], { schema: 'shop' }),
    table('a_view', [column('id', 'integer')], { kind: 'v', primaryKey: [] }),
    table('a_foreign', [column('id', 'integer')], { kind: 'f' }),
    table('parts', [column('id', 'integer')], { kind: 'p' }),
    table('parts_2024', [column('id', 'integer')], { partitionOf: { schema: 'public', name: 'parts' } }),
    table('half_logged', [column('id', 'integer')], { kind: 'p', persistence: 'unlogged' }),
    table('animals', [column('id', 'integer')], { hasInheritors: true }),
    table('scratch', [column('id', 'integer')], { persistence: 'unlogged' }),
    table('archived', [column('id', 'uuid'), column('title', 'text')]),
  ],
};
