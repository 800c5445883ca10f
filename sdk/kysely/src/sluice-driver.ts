import type { QueryParameter, QueryRow, SluiceClient, SluiceError } from '@sluice/client';
import type { CompiledQuery, DatabaseConnection, Driver, QueryResult } from 'kysely';
import { transactionUnsupported } from './errors.ts';

/** Every query stands for itself: what reads goes to `query`, what writes is one local transaction of `write`. */
export class SluiceDriver implements Driver {
  readonly #connection: DatabaseConnection;

  constructor(client: SluiceClient) {
    this.#connection = new SluiceConnection(client);
  }

  init(): Promise<void> {
    return Promise.resolve();
  }
  acquireConnection(): Promise<DatabaseConnection> {
    return Promise.resolve(this.#connection);
  }
  /** @throws SluiceError CLIENT_TRANSACTION_UNSUPPORTED */
  beginTransaction(): Promise<void> {
    return Promise.reject(transactionUnsupported());
  }
  commitTransaction(): Promise<void> {
    return Promise.reject(transactionUnsupported());
  }
  rollbackTransaction(): Promise<void> {
    return Promise.reject(transactionUnsupported());
  }
  releaseConnection(): Promise<void> {
    return Promise.resolve();
  }
  destroy(): Promise<void> {
    return Promise.resolve();
  }
}

class SluiceConnection implements DatabaseConnection {
  readonly #client: SluiceClient;

  constructor(client: SluiceClient) {
    this.#client = client;
  }

  async executeQuery<R>({ query, sql, parameters }: CompiledQuery): Promise<QueryResult<R>> {
    // The client checks each value; its type is the caller's, by Kysely's types.
    const values = parameters as readonly QueryParameter[];
    switch (query.kind) {
      case 'SelectQueryNode':
        return result(await this.#client.query(sql, values));
      case 'InsertQueryNode':
      case 'UpdateQueryNode':
      case 'DeleteQueryNode': {
        // How many rows a statement changed is known by what it returns.
        const counted = query.returning ? sql : `${sql} returning 1`;
        const rows = await this.#write(counted, values);
        return { ...result<R>(query.returning ? rows : []), numAffectedRows: BigInt(rows.length) };
      }
      default:
        return result(await this.#readOrWrite(sql, values));
    }
  }

  /** A result is whole in memory anyway, so it is one piece. */
  async *streamQuery<R>(query: CompiledQuery): AsyncIterableIterator<QueryResult<R>> {
    yield await this.executeQuery<R>(query);
  }

  /** SQL that the app wrote itself: the client refuses to read what writes before anything of it is run. */
  async #readOrWrite(sql: string, values: readonly QueryParameter[]): Promise<QueryRow[]> {
    try {
      return await this.#client.query(sql, values);
    } catch (error) {
      if ((error as SluiceError).code !== 'CLIENT_QUERY_NOT_READ_ONLY') throw error;
      return this.#write(sql, values);
    }
  }
  async #write(sql: string, parameters: readonly QueryParameter[]): Promise<QueryRow[]> {
    const [rows = []] = await this.#client.write({ sql, parameters });
    return rows;
  }
}

/** The type of a row is Kysely's knowledge of the query. */
function result<R>(rows: readonly QueryRow[]): QueryResult<R> {
  return { rows: rows as R[] };
}
