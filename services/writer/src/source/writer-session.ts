import { AppError, assert } from '@sluice/errors';
import { type ClientBase, escapeIdentifier } from 'pg';
import type { Statement, WriterSession } from '../model.ts';

/** What a session must be fit for: the rules' role, and the types of the columns that may be written. */
export interface Needs {
  readonly role: string;
  readonly typeOids: readonly number[];
}

/** A connection of the pool, with what was found out about it; it is asked once for each role and type. */
export class SourceSession implements WriterSession {
  readonly #client: ClientBase;
  readonly #typeNames = new Map<number, string>();
  #checkedRole: string | undefined;

  constructor(client: ClientBase) {
    this.#client = client;
  }

  async run(sql: string, parameters?: readonly (string | number | null)[]): Promise<number> {
    // Without parameters the simple protocol is used, which takes several statements in one text.
    const result = parameters ? await this.#client.query(sql, [...parameters]) : await this.#client.query(sql);
    return result.rowCount ?? 0;
  }
  inOneGo(statements: readonly Statement[]): Promise<PromiseSettledResult<number>[]> {
    // The connection is in pipeline mode: nothing waits for the answer before it.
    return Promise.allSettled(statements.map(({ sql, parameters }) => this.run(sql, parameters)));
  }
  async rows<Row extends object>(sql: string, parameters: readonly (string | number | null)[]): Promise<Row[]> {
    return (await this.#client.query<Row>(sql, [...parameters])).rows;
  }
  typeNameOf(typeOid: number): string {
    const name = this.#typeNames.get(typeOid);
    assert(name !== undefined, 'a type was not asked for before the writes');
    return name;
  }

  /** @throws AppError WRITES_ROLE_UNUSABLE, WRITES_ROLE_UNSAFE, or the driver's error */
  async prepare({ role, typeOids }: Needs): Promise<void> {
    if (this.#checkedRole !== role) await this.#checkRole(role);
    this.#checkedRole = role;
    const unknown = typeOids.filter((oid) => !this.#typeNames.has(oid));
    if (unknown.length > 0) await this.#readTypeNames(unknown);
  }

  /** A role that row-level security does not bind would make every user a superuser of the tenant's data. */
  async #checkRole(role: string): Promise<void> {
    const [found] = await this.rows<{ isUnbound: boolean }>(
      'SELECT rolsuper OR rolbypassrls AS "isUnbound" FROM pg_catalog.pg_roles WHERE rolname = $1',
      [role],
    );
    if (!found) throw new AppError('WRITES_ROLE_UNUSABLE', { internal: 'there is no such role' });
    if (found.isUnbound) throw new AppError('WRITES_ROLE_UNSAFE');
    try {
      await this.run(`SET ROLE ${escapeIdentifier(role)}`);
    } catch (error) {
      throw new AppError('WRITES_ROLE_UNUSABLE', { cause: error });
    }
    await this.run('RESET ROLE');
  }

  /** With modifier -1 `char` and `bit` do not mean one character, and nothing is cut; what is not in the search path has its schema. */
  async #readTypeNames(oids: readonly number[]): Promise<void> {
    const names = await this.rows<{ oid: number; name: string }>(
      'SELECT t.oid::pg_catalog.int8::pg_catalog.float8 AS oid, pg_catalog.format_type(t.oid, -1) AS name FROM pg_catalog.unnest($1::pg_catalog.oid[]) AS t (oid)',
      [`{${oids.join(',')}}`],
    );
    for (const { oid, name } of names) this.#typeNames.set(oid, name);
  }
}
