/** 2000-01-01T00:00:00Z, where Postgres's clock starts, in Unix milliseconds. */
const PG_EPOCH_UNIX_MS = 946_684_800_000;

/** Postgres microseconds since 2000 as whole Unix milliseconds, rounded down. */
export function unixMsFromPgUs(pgUs: bigint): number {
  return Math.floor(Number(pgUs) / 1000) + PG_EPOCH_UNIX_MS;
}

/** Unix milliseconds (fractions allowed) as Postgres microseconds since 2000. */
export function pgUsFromUnixMs(unixMs: number): bigint {
  return BigInt(Math.round((unixMs - PG_EPOCH_UNIX_MS) * 1000));
}
