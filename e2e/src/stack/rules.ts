/** One stream of a tenant's rules. The client table is always named, so that the oracle need not guess it. */
export interface StreamSpec {
  readonly name: string;
  readonly table: string;
  /** Run as it stands by the oracle: `auth.user_id()` and `auth.claim()` exist in every test source. */
  readonly query: string;
}

/** Everybody sees the one row that every test transaction counts up; it says which commits a client holds. */
export const TICKS_STREAM: StreamSpec = { name: 'ticks', table: 'ticks', query: 'SELECT * FROM ticks' };

/** What clients may write, as the rules file has it. */
export interface WritesSpec {
  readonly role: string;
  /** Policy by client table. */
  readonly tables: Readonly<Record<string, string>>;
}

export function rulesYaml(streams: readonly StreamSpec[], writes?: WritesSpec): string {
  const lines = streams.map(
    ({ name, table, query }) => `  ${name}: { query: ${JSON.stringify(query)}, table: ${JSON.stringify(table)} }`,
  );
  return `version: 1\nstreams:\n${lines.join('\n')}\n${writes ? writesYaml(writes) : ''}`;
}

function writesYaml({ role, tables }: WritesSpec): string {
  const lines = Object.entries(tables).map(([name, policy]) => `    ${name}: { policy: ${policy} }`);
  return `writes:\n  role: ${role}\n  tables:\n${lines.join('\n')}\n`;
}

/** Names of the client tables that the streams feed, each once. */
export function clientTables(streams: readonly StreamSpec[]): string[] {
  return [...new Set(streams.map(({ table }) => table))];
}
