import { Hash64 } from '@sluice/domain';
import { isAppError } from '@sluice/errors';
import type { ResultFrame } from './frame.ts';
import type { QueryParameter, QueryRunner } from './run-query.ts';

export interface LiveListener {
  /** `result` is a hash of the frame: two of one query that are equal have the same. */
  readonly onFrame: (frame: ResultFrame, result: string) => void;
  readonly onError: (error: unknown) => void;
}
interface LiveQuery extends LiveListener {
  readonly sql: string;
  readonly parameters: readonly QueryParameter[];
  /** Tables that it reads; undefined until it could be compiled under the present schema. */
  tables: ReadonlySet<string> | undefined;
  /** Hash of the result that was delivered last. */
  delivered: string | undefined;
  failedWith: string | undefined;
}

const hash = new Hash64();

/**
 * Queries that run again after a checkpoint that changed a table they read, and deliver only a result that differs from
 * the last one. Before the first checkpoint nothing runs, as there are no tables.
 */
export class LiveQueries {
  readonly #runner: QueryRunner;
  readonly #queries = new Map<number, LiveQuery>();
  #last = 0;
  /** How often a query was run; what tests count. */
  runs = 0;

  constructor(runner: QueryRunner) {
    this.#runner = runner;
  }

  /** Delivers the first result before it returns if `isReady` and it is not the one `delivered` before. The number is for `remove`. */
  add(
    sql: string,
    parameters: readonly QueryParameter[],
    listener: LiveListener,
    { isReady, delivered }: { readonly isReady: boolean; readonly delivered: string | undefined },
  ): number {
    const id = ++this.#last;
    const query = { sql, parameters, ...listener, tables: undefined, delivered, failedWith: undefined };
    this.#queries.set(id, query);
    if (isReady) this.#run(query);
    return id;
  }
  remove(id: number): void {
    this.#queries.delete(id);
  }

  /** To be called after each applied checkpoint. */
  afterCommit(changedTables: ReadonlySet<string>, schemaChanged: boolean): void {
    for (const query of [...this.#queries.values()]) {
      if (schemaChanged) query.tables = undefined;
      if (query.tables === undefined || intersects(query.tables, changedTables)) this.#run(query);
    }
  }

  #run(query: LiveQuery): void {
    this.runs++;
    try {
      query.tables ??= this.#runner.tablesOf(query.sql);
      const frame = this.#runner.run(query.sql, query.parameters);
      const result = hashOf(frame);
      query.failedWith = undefined;
      if (result === query.delivered) return;
      query.delivered = result;
      query.onFrame(frame, result);
    } catch (error) {
      this.#fail(query, error);
    }
  }
  /** A failure is told once, until it heals or becomes another one. */
  #fail(query: LiveQuery, error: unknown): void {
    const failure = isAppError(error) ? `${error.code} ${error.remedy}` : String(error);
    if (failure === query.failedWith) return;
    query.failedWith = failure;
    query.delivered = undefined;
    query.onError(error);
  }
}

function intersects(a: ReadonlySet<string>, b: ReadonlySet<string>): boolean {
  for (const item of a) if (b.has(item)) return true;
  return false;
}

function hashOf(frame: ResultFrame): string {
  const parts = [new Uint8Array(frame.cells.buffer), frame.tags, frame.bytes].map((bytes) => {
    hash.update(bytes, new DataView(bytes.buffer), 0, bytes.length, 0);
    return `${hash.hi}.${hash.lo}`;
  });
  return `${frame.rows}/${frame.columns.join()}/${parts.join('/')}`;
}
