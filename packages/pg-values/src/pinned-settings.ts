/**
 * Settings of every session that reads values, replication sessions included: they decide how Postgres prints a value,
 * and a role or database may have changed any of them. Snapshot and stream print equal bytes only under these.
 */
export const PINNED_SETTINGS = {
  client_encoding: 'UTF8',
  datestyle: 'ISO',
  intervalstyle: 'postgres',
  timezone: 'UTC',
  extra_float_digits: '3',
  bytea_output: 'hex',
  // Both decide how names (regclass and its kin) are printed: in full unless built in, quoted only where needed.
  search_path: 'pg_catalog',
  quote_all_identifiers: 'off',
} as const;

/** The `options` startup parameter that pins them; it outranks what ALTER ROLE and ALTER DATABASE set. */
export const PINNED_SETTINGS_OPTIONS: string = Object.entries(PINNED_SETTINGS)
  .map(([name, value]) => `-c ${name}=${value}`)
  .join(' ');
