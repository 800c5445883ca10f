import { type FreshDatabase, freshDatabase } from '@sluice/testkit';
import pg from 'pg';

/** What a token says of its user; `sub` is the user's id. */
export interface Claims {
  readonly sub: string;
  readonly [claim: string]: string | number | boolean;
}

/** The functions that rules name, for the oracle, which runs the rules' queries on the source itself. */
export const AUTH_SQL = `
create schema auth;
create function auth.user_id() returns text stable language sql
  as $$ select current_setting('request.jwt.claims')::jsonb ->> 'sub' $$;
create function auth.claim(variadic path text[]) returns text stable language sql
  as $$ select current_setting('request.jwt.claims')::jsonb #>> path $$;
`;
const TICKS_SQL = `
create table ticks (id int primary key, n int not null);
alter table ticks replica identity full;
insert into ticks values (1, 0);
`;

/** A tenant's Postgres. All writes of a test go through one session, so their order is known. */
export interface SourceDatabase extends AsyncDisposable {
  readonly url: string;
  readonly name: string;
  readonly writer: pg.Client;
  /** The number of the last transaction that `commit` committed. */
  readonly tick: number;
  /** Runs the statements in one transaction that counts the tick up; resolves to its number once it is committed. */
  commit(...statements: readonly string[]): Promise<number>;
  /** Opens the writer's session anew after its server went away, and learns whether the commit in flight came to be. */
  reconnect(): Promise<void>;
}

export async function createSourceDatabase(
  label: string,
  tablesSql: string,
  cluster?: { readonly url: string },
): Promise<SourceDatabase> {
  const database = await freshDatabase(label, cluster);
  const writer = await openWriter(database.url);
  await writer.query(AUTH_SQL + TICKS_SQL);
  await writer.query(tablesSql);
  return sourceDatabase(database, writer);
}

async function openWriter(url: string): Promise<pg.Client> {
  const writer = new pg.Client({ connectionString: url });
  // A test may end the server under it; the statement in flight says so.
  writer.on('error', () => {});
  await writer.connect();
  return writer;
}

function sourceDatabase(database: FreshDatabase, first: pg.Client): SourceDatabase {
  let writer = first;
  let tick = 0;
  return {
    url: database.url,
    name: database.name,
    get writer() {
      return writer;
    },
    get tick() {
      return tick;
    },
    async commit(...statements) {
      await writer.query('begin');
      try {
        for (const statement of statements) await writer.query(statement);
        const counted = await writer.query<{ n: number }>('update ticks set n = n + 1 returning n');
        await writer.query('commit');
        tick = counted.rows[0]?.n ?? tick;
        return tick;
      } catch (error) {
        // Of a server that is gone the first error says more.
        await writer.query('rollback').catch(() => {});
        throw error;
      }
    },
    async reconnect() {
      await writer.end().catch(() => {});
      writer = await openWriter(database.url);
      const { rows } = await writer.query<{ n: number }>('select n from ticks');
      tick = rows[0]?.n ?? tick;
    },
    async [Symbol.asyncDispose]() {
      await writer.end().catch(() => {});
      await database[Symbol.asyncDispose]();
    },
  };
}
