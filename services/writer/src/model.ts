import type { ProjectId } from '@sluice/domain';
import type { Code } from '@sluice/errors';
import type { ClientColumn, WritableTable } from '@sluice/sync-rules';

/** The nouns that the rooms of this service share. */

/** One local transaction of one client, as the gateway hands it over: its token is verified, its payload well formed. */
export interface Upload {
  readonly project: ProjectId;
  /** What clients call the project; the source's records are kept under it. */
  readonly ref: string;
  /** The token's `sub`, to which the client id is bound. */
  readonly subject: string;
  readonly claims: Readonly<Record<string, unknown>>;
  /** A UUID. */
  readonly clientId: string;
  /** 1 for the client's first. */
  readonly seq: number;
  /** Refusals up to this number are kept by the client; 0 for none. */
  readonly refusalsKept: number;
  /** `encodeMutations`. */
  readonly mutations: Uint8Array;
}

/**
 * `recorded`: the record is committed, now or by an earlier attempt, and with it the writes or their refusal. `retry`: nothing
 * happened, as far as is known; `code` says why. `gap`: uploads from `expected` on are missing.
 */
export interface UploadAnswer {
  readonly result: 'recorded' | 'retry' | 'gap';
  readonly code: Code | '';
  /** The number that may come next. */
  readonly expected: number;
}

export interface WritesState {
  readonly state: 'enabled' | 'read-only' | 'unavailable';
  /** Why they are not taken. */
  readonly code: Code | '';
}

/** An upload's end for good, which the client is told. `reason` names tables, columns and constraints, and no values. */
export interface Refusal {
  readonly code: Code;
  readonly reason: string;
}
export function isRefusal(value: object): value is Refusal {
  return 'reason' in value;
}

/** A value as Postgres reads it in text form. */
export type Parameter = string | null;

/** A mutation that fits its table: columns looked up, values in the form that Postgres reads. */
export interface PlannedWrite {
  readonly kind: 'insert' | 'update' | 'delete' | 'upsert';
  readonly table: WritableTable;
  /** Of the key columns, in their order. */
  readonly key: readonly string[];
  readonly changes: readonly PlannedChange[];
}
export interface PlannedChange {
  readonly column: ClientColumn;
  /** Undefined for a column of a deleted row. */
  readonly value: Parameter | undefined;
  /** What the client showed before; undefined where there was no row. */
  readonly previous: Parameter | undefined;
}

/** A session on the source, within which statements run one after the other. Errors are the driver's own. */
export interface WriterSession {
  /** Resolves to the number of rows that were returned or changed. */
  run(sql: string, parameters?: readonly (Parameter | number)[]): Promise<number>;
  rows<Row extends object>(sql: string, parameters: readonly (Parameter | number)[]): Promise<Row[]>;
  /** How the type is written in a cast, without a modifier: a value is never cut to fit. */
  typeNameOf(typeOid: number): string;
}
