/** A table as the source names it. */
export interface TableName {
  readonly schema: string;
  readonly name: string;
}

export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
export function quoteTable(table: TableName): string {
  return `${quoteIdentifier(table.schema)}.${quoteIdentifier(table.name)}`;
}
/** Safe whatever standard_conforming_strings says. */
export function quoteLiteral(text: string): string {
  const quoted = `'${text.replaceAll("'", "''").replaceAll('\\', '\\\\')}'`;
  return text.includes('\\') ? ` E${quoted}` : quoted;
}
/** As the store names tables in its records. */
export function tableKey(table: TableName): string {
  return `${table.schema}.${table.name}`;
}
