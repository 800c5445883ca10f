import type { ClientColumn } from '@sluice/sync-rules';
import { escapeIdentifier } from 'pg';
import type { Parameter, PlannedChange, PlannedWrite, Statement, WriterSession } from '../model.ts';

type TypeNames = Pick<WriterSession, 'typeNameOf'>;

/** Values stand in parameters alone, names are quoted, and the types of casts are as the source itself writes them. */
class StatementBuilder {
  readonly parameters: Parameter[] = [];
  readonly table: string;
  readonly #write: PlannedWrite;
  readonly #types: TypeNames;

  constructor(write: PlannedWrite, types: TypeNames) {
    const { schema, name } = write.table.source;
    this.table = `${escapeIdentifier(schema)}.${escapeIdentifier(name)}`;
    this.#write = write;
    this.#types = types;
  }

  /** Without a cast: it takes the type of the column that it is assigned to, whose checks of length a cast would evade. */
  assigned(value: Parameter): string {
    return `$${this.parameters.push(value)}`;
  }
  typed(value: Parameter, column: ClientColumn): string {
    return `${this.assigned(value)}::${this.#types.typeNameOf(column.baseTypeOid)}`;
  }
  isThisRow(): string {
    const { key, table } = this.#write;
    return key
      .map((value, i) => {
        const column = table.table.columns[i] as ClientColumn; // `planWrites` gives a value for each key column.
        return `${nameOf(column)} = ${this.typed(value, column)}`;
      })
      .join(' AND ');
  }
  /** Compares what both print in this session: many types have no equality, and some one that is not that of values. */
  isAsSeen(): string {
    return this.#write.changes
      .filter(hasPrevious)
      .map(({ column, previous }) => {
        const now = `${nameOf(column)}::pg_catalog.text COLLATE pg_catalog."C"`;
        return ` AND ${now} IS NOT DISTINCT FROM ${this.typed(previous, column)}::pg_catalog.text`;
      })
      .join('');
  }
  built(sql: string): Statement {
    return { sql, parameters: this.parameters };
  }
}

/** Adds the row; a key that is there breaks a constraint. */
export function insertStatement(write: PlannedWrite, types: TypeNames): Statement {
  const builder = new StatementBuilder(write, types);
  const { names, values } = insertedBy(write, builder);
  return builder.built(`INSERT INTO ${builder.table} (${names}) VALUES (${values})`);
}

/** Adds the row unless its key is there. Not ON CONFLICT, which asks for more privileges and an arbiter that may be deferrable. */
export function insertIfMissingStatement(write: PlannedWrite, types: TypeNames): Statement {
  const builder = new StatementBuilder(write, types);
  const { names, values } = insertedBy(write, builder);
  const exists = `SELECT FROM ${builder.table} WHERE ${builder.isThisRow()}`;
  return builder.built(`INSERT INTO ${builder.table} (${names}) SELECT ${values} WHERE NOT EXISTS (${exists})`);
}

function insertedBy(write: PlannedWrite, builder: StatementBuilder): { names: string; values: string } {
  const keyColumns = write.table.table.columns.slice(0, write.table.table.keyColumns);
  const changes = write.changes.filter(hasValue);
  const names = [...keyColumns, ...changes.map(({ column }) => column)].map(nameOf).join(', ');
  const values = [...write.key, ...changes.map(({ value }) => value)]
    .map((value) => builder.assigned(value))
    .join(', ');
  return { names, values };
}

/** @param how whether only a row that is as the client saw it is changed. Undefined when there is nothing to change. */
export function updateStatement(
  write: PlannedWrite,
  types: TypeNames,
  how: { readonly onlyAsSeen: boolean },
): Statement | undefined {
  const builder = new StatementBuilder(write, types);
  const set = write.changes
    .filter(hasValue)
    .map(({ column, value }) => `${nameOf(column)} = ${builder.assigned(value)}`)
    .join(', ');
  if (set === '') return undefined;
  const where = builder.isThisRow() + (how.onlyAsSeen ? builder.isAsSeen() : '');
  return builder.built(`UPDATE ${builder.table} SET ${set} WHERE ${where}`);
}

export function deleteStatement(
  write: PlannedWrite,
  types: TypeNames,
  how: { readonly onlyAsSeen: boolean },
): Statement {
  const builder = new StatementBuilder(write, types);
  const where = builder.isThisRow() + (how.onlyAsSeen ? builder.isAsSeen() : '');
  return builder.built(`DELETE FROM ${builder.table} WHERE ${where}`);
}

/** Has a row when the user can see the row. */
export function existsStatement(write: PlannedWrite, types: TypeNames): Statement {
  const builder = new StatementBuilder(write, types);
  return builder.built(`SELECT 1 FROM ${builder.table} WHERE ${builder.isThisRow()}`);
}

function nameOf(column: ClientColumn): string {
  return escapeIdentifier(column.source.name);
}
function hasValue(change: PlannedChange): change is PlannedChange & { readonly value: Parameter } {
  return change.value !== undefined;
}
function hasPrevious(change: PlannedChange): change is PlannedChange & { readonly previous: Parameter } {
  return change.previous !== undefined;
}
