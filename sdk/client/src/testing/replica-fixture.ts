import type { BucketId } from '@sluice/domain';
import type { ServerMessage } from '@sluice/protocol';
import initialize from '@sqlite.org/sqlite-wasm';
import { rowsFromFrame } from '../core/query/frame.ts';
import { QueryRunner } from '../core/query/run-query.ts';
import type { Database } from '../core/sqlite/database.ts';
import { SqliteModule } from '../core/sqlite/module.ts';
import { memoryStorage } from '../core/storage.ts';
import type { StepObserver } from '../core/store/apply-checkpoint.ts';
import type { InflateRaw } from '../core/store/inflate.ts';
import { type Applied, Replica } from '../core/store/replica.ts';
import type { ModelRow, ModelSource } from './model-source.ts';

let loading: Promise<SqliteModule> | undefined;
export function testModule(): Promise<SqliteModule> {
  loading ??= initialize().then((api) => new SqliteModule(api));
  return loading;
}
export function memoryDatabaseIn(module: SqliteModule): Database {
  return memoryStorage(module, undefined).open();
}
export async function memoryDatabase(): Promise<Database> {
  return memoryDatabaseIn(await testModule());
}
export function replicaOn(
  db: Database,
  options: {
    bufferedBytesMax?: number;
    inflate?: InflateRaw;
    onStep?: StepObserver;
    project?: string;
    newClientId?: string;
  } = {},
): Replica {
  return new Replica(db, {
    project: options.project ?? 'demo',
    newClientId: () => options.newClientId ?? 'client-1',
    bufferedBytesMax: options.bufferedBytesMax,
    inflate: options.inflate,
    onStep: options.onStep,
  });
}

/** Feeds the messages of one checkpoint, or a schema, past the connection. */
export function feed(replica: Replica, messages: readonly ServerMessage[]): Applied | undefined {
  let pending: ReturnType<Replica['begin']> | undefined;
  let applied: Applied | undefined;
  for (const message of messages) {
    if (message.type === 'schema') replica.announce(message.tables, message.streams);
    else if (message.type === 'checkpoint') pending = replica.begin(message);
    else if (message.type === 'chunk') pending?.add(message);
    else if (message.type === 'checkpoint-end' && pending)
      applied = replica.apply({ pending, sums: message.sums, nowMs: 1, onProgress: () => undefined });
  }
  return applied;
}

/** Every row of every table of the source's schema, with kinds that JavaScript would merge kept apart. */
export function dump(db: Database, source: ModelSource): Record<string, string[]> {
  const runner = new QueryRunner(db);
  try {
    return Object.fromEntries(
      source.tables.map((table) => {
        const cells = table.columns.map(({ name }) => {
          const column = `"${name.replaceAll('"', '""')}"`;
          // The sign of zero and the last bit of a float survive only in their bytes, which verify() compares.
          return `typeof(${column}) || ':' || ifnull(CASE typeof(${column}) WHEN 'blob' THEN hex(${column}) ELSE ${column} END, '')`;
        });
        const sql = `SELECT ${cells.join(" || '|' || ")} AS line FROM "${table.name.replaceAll('"', '""')}"`;
        const lines = rowsFromFrame(runner.run(sql, [])).map(({ line }) => String(line));
        return [table.name, lines.sort()];
      }),
    );
  } finally {
    runner.close();
  }
}
/** What `dump` must give for a client that holds these buckets. */
export function expectedDump(db: Database, source: ModelSource, held: ReadonlySet<BucketId>): Record<string, string[]> {
  return Object.fromEntries(
    source.tables.map((table) => {
      const lines = source.expectedRows(table.name, held).map((row) => rowLine(db, row));
      return [table.name, lines.sort()];
    }),
  );
}
/** One row as `dump` gives it. */
export function rowLine(db: Database, row: ModelRow): string {
  return row
    .map(({ value, isFloat }) => {
      if (value === null) return 'null:';
      if (value instanceof Uint8Array) return `blob:${Buffer.from(value).toString('hex').toUpperCase()}`;
      if (isFloat) return `real:${realText(db, value as number)}`;
      return `${typeof value === 'string' ? 'text' : 'integer'}:${value}`;
    })
    .join('|');
}
function realText(db: Database, value: number): string {
  let text = '';
  const statement = db.prepare("SELECT ?1 || ''");
  statement.database.module.c.sqlite3_bind_double(statement.pointer, 1, value);
  statement.step();
  text = statement.text(0);
  statement.finalize();
  return text;
}
