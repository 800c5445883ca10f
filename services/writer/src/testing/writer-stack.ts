import { randomBytes, randomUUID } from 'node:crypto';
import { ByteWriter, type CellValue, type ProjectId, parseProjectId, writeCell } from '@sluice/domain';
import { encodeMutations, type Mutation, type MutationKind } from '@sluice/protocol';
import { type SourceConnection, sourceConnectionFromUrl } from '@sluice/source-connection';
import {
  type Catalog,
  type CatalogColumn,
  type CatalogTable,
  type CompiledRules,
  parseAndCompile,
  WRITES_TABLES_SQL,
} from '@sluice/sync-rules';
import { createLogger, systemClock } from '@sluice/telemetry';
import { freshDatabase, identifier, query } from '@sluice/testkit';
import type { Upload } from '@sluice/uploads';
import { createWriter, type Writer, type WriterOptions } from '../app.ts';

export const PROJECT: ProjectId = parseProjectId(1);
export const REF = 'demo';

export interface StackSpec {
  /** `{app}` stands for the role that writes are made as. */
  readonly tablesSql: string;
  /** By client table, each fed by all of the source's table of the name. */
  readonly policies: Readonly<Record<string, string>>;
  /** Synced and not writable. */
  readonly readOnly?: readonly string[];
  readonly limits?: WriterOptions['limits'];
  /** Where the writer finds the source, when not at its own address. */
  readonly through?: (connection: SourceConnection) => Promise<SourceConnection>;
}

/** A source with two roles, rules for its tables, and a writer that logs in as the one and writes as the other. */
export async function writerStack(spec: StackSpec) {
  const database = await freshDatabase('writer');
  const suffix = randomBytes(5).toString('hex');
  const [login, app] = [`sluice_login_${suffix}`, `sluice_app_${suffix}`];
  await query(
    database.url,
    `CREATE ROLE ${login} LOGIN PASSWORD 'writer'; CREATE ROLE ${app}; GRANT ${app} TO ${login};
    ${WRITES_TABLES_SQL}
    GRANT USAGE ON SCHEMA sluice TO ${login};
    GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA sluice TO ${login};
    ${spec.tablesSql.replaceAll('{app}', app)}`,
  );
  let rules: CompiledRules | undefined = await rulesFor(database.url, spec, app);
  const url = new URL(database.url);
  url.username = login;
  url.password = 'writer';
  const direct = sourceConnectionFromUrl(url.href);
  const connection = (await spec.through?.(direct)) ?? direct;
  const records: string[] = [];
  const writer = createWriter({
    sourceOf: async () => connection,
    rulesOf: async () => rules,
    clock: systemClock,
    logger: createLogger({
      service: 'writer',
      level: 'debug',
      clock: systemClock,
      destination: { write: (line) => void records.push(line) },
    }),
    ...(spec.limits ? { limits: spec.limits } : {}),
  });
  return {
    writer,
    app,
    login,
    records,
    url: database.url,
    sql: <Row extends Record<string, unknown>>(text: string, parameters: readonly unknown[] = []) =>
      query<Row>(database.url, text, parameters),
    setRules(next: CompiledRules | undefined) {
      rules = next;
      writer.projectChanged(PROJECT);
    },
    rules: () => rules,
    async [Symbol.asyncDispose]() {
      await writer.close();
      await query(database.url, `DROP OWNED BY ${login}, ${app} CASCADE`);
      await database[Symbol.asyncDispose]();
      const admin = new URL(database.url);
      admin.pathname = '/postgres';
      await query(admin.href, `DROP ROLE ${login}; DROP ROLE ${app}`);
    },
  };
}
export type WriterStack = Awaited<ReturnType<typeof writerStack>>;

async function rulesFor(url: string, { policies, readOnly = [] }: StackSpec, role: string): Promise<CompiledRules> {
  const tables = [...Object.keys(policies), ...readOnly];
  const yaml = [
    'version: 1',
    'streams:',
    ...tables.map((name) => `  ${name}: { query: 'SELECT * FROM ${identifier(name)}' }`),
    'writes:',
    `  role: ${role}`,
    '  tables:',
    ...Object.entries(policies).map(([name, policy]) => `    ${name}: { policy: ${policy} }`),
  ].join('\n');
  const result = await parseAndCompile(yaml, await catalogOf(url));
  if (result.kind === 'ok') return result.rules;
  throw new Error(JSON.stringify(result.diagnostics));
}

/** Ordinary tables alone: what the compiler has to know of these. */
async function catalogOf(url: string): Promise<Catalog> {
  const rows = await query<CatalogColumn & { schema: string; tableName: string; oid: number; key: string[] }>(
    url,
    `WITH RECURSIVE base AS (
      SELECT oid, oid AS base_oid, typtype, typbasetype FROM pg_type
      UNION ALL SELECT b.oid, t.oid, t.typtype, t.typbasetype FROM base b JOIN pg_type t ON t.oid = b.typbasetype WHERE b.typtype = 'd'
    )
    SELECT n.nspname AS schema, c.relname AS "tableName", c.oid::int8::float8 AS oid,
      ARRAY(SELECT k.attname::text FROM pg_index i, pg_attribute k
        WHERE i.indrelid = c.oid AND i.indisprimary AND k.attrelid = c.oid AND k.attnum = ANY (i.indkey)
        ORDER BY array_position(i.indkey::int2[], k.attnum)) AS key,
      a.attname AS name, a.atttypid::int8::float8 AS "typeOid", a.atttypmod AS typmod,
      format_type(a.atttypid, a.atttypmod) AS "pgType", a.attnotnull AS "notNull", a.attgenerated <> '' AS generated,
      false AS "nondeterministicCollation", b.base_oid::int8::float8 AS "baseTypeOid", b.typtype::text AS "typeKind"
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN base b ON b.oid = a.atttypid AND b.typtype <> 'd'
    WHERE c.relkind = 'r' AND n.nspname IN ('public', 'sluice') ORDER BY c.oid, a.attnum`,
  );
  const byOid = new Map<number, CatalogTable & { columns: CatalogColumn[] }>();
  for (const { schema, tableName, oid, key, ...column } of rows) {
    const table = byOid.get(oid) ?? {
      schema,
      name: tableName,
      oid,
      kind: 'r',
      persistence: 'permanent',
      replicaIdentity: 'full',
      columns: [],
      primaryKey: key,
      identityKey: key,
      hasInheritors: false,
      partitionOf: undefined,
    };
    table.columns.push(column);
    byOid.set(oid, table);
  }
  return { tables: [...byOid.values()] };
}

/** A value for the wire; wrapped where it is a float, which JavaScript does not tell from an integer. */
export type Cell = CellValue | { readonly float: number };
export function cell(value: Cell): Uint8Array {
  const out = new ByteWriter(64);
  if (typeof value === 'object' && value !== null && 'float' in value) writeCell(out, value.float, true);
  else writeCell(out, value);
  return out.take();
}

interface ChangeSpec {
  readonly key: readonly Cell[];
  readonly set?: Readonly<Record<string, Cell>>;
  readonly was?: Readonly<Record<string, Cell>>;
}
export function mutation(kind: MutationKind, table: string, { key, set = {}, was = {} }: ChangeSpec): Mutation {
  const names = new Set([...Object.keys(set), ...Object.keys(was)]);
  return {
    kind,
    table,
    key: Buffer.concat(key.map(cell)),
    keyCells: key.length,
    columns: [...names].map((column) => ({
      column,
      value: column in set ? cell(set[column] as Cell) : undefined,
      previous: column in was ? cell(was[column] as Cell) : undefined,
    })),
  };
}

/** A client that numbers its uploads. */
export class TestClient {
  readonly id = randomUUID();
  readonly subject: string;
  seq = 0;
  refusalsKept = 0;
  readonly #writer: Writer;

  constructor(writer: Writer, subject: string) {
    this.#writer = writer;
    this.subject = subject;
  }

  /** The next upload, not sent. */
  next(...mutations: readonly Mutation[]): Upload {
    return this.at(++this.seq, ...mutations);
  }
  at(seq: number, ...mutations: readonly Mutation[]): Upload {
    return {
      project: PROJECT,
      ref: REF,
      subject: this.subject,
      claims: { sub: this.subject, role: 'authenticated' },
      clientId: this.id,
      seq,
      refusalsKept: this.refusalsKept,
      transactions: [encodeMutations(mutations)],
    };
  }
  /** Several transactions in one upload, as a gateway hands over what has waited. */
  uploadTogether(...transactions: readonly (readonly Mutation[])[]) {
    const upload = this.at(this.seq + 1);
    this.seq += transactions.length;
    return this.#writer.write({ ...upload, transactions: transactions.map(encodeMutations) });
  }
  upload(...mutations: readonly Mutation[]) {
    return this.#writer.write(this.next(...mutations));
  }
}
