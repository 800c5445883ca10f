import type { Span } from './diagnostics.ts';
import { QueryText } from './query-text.ts';
import type { RawStream } from './rules-file.ts';

/** The schema of ours at a source that takes writes (L15). */
export const WRITES_SCHEMA = 'sluice';

/**
 * Makes the tables of `WRITES_SCHEMA`; harmless where they are. `client`: how far each client's uploads are recorded.
 * `refusal`: which of them were refused, until the client has it. Both are streamed, by which clients learn of it.
 */
export const WRITES_TABLES_SQL = `CREATE SCHEMA IF NOT EXISTS sluice;
CREATE TABLE IF NOT EXISTS sluice.client (
  project text NOT NULL,
  client_id uuid NOT NULL,
  subject text NOT NULL,
  seq bigint NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (project, client_id)
);
CREATE TABLE IF NOT EXISTS sluice.refusal (
  project text NOT NULL,
  client_id uuid NOT NULL,
  seq bigint NOT NULL,
  subject text NOT NULL,
  code text NOT NULL,
  reason text NOT NULL,
  refused_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (project, client_id, seq)
);
ALTER TABLE sluice.client REPLICA IDENTITY FULL;
ALTER TABLE sluice.refusal REPLICA IDENTITY FULL;`;

/** By the name of the stream and of the client table that it feeds. */
const WRITES_STREAMS = [
  {
    name: 'sluice_client',
    source: 'client',
    sql: 'SELECT project, client_id, seq FROM sluice.client WHERE subject = auth.user_id()',
  },
  {
    name: 'sluice_refusal',
    source: 'refusal',
    sql: 'SELECT project, client_id, seq, code, reason FROM sluice.refusal WHERE subject = auth.user_id()',
  },
] as const;

/** Tables that the added streams read. */
export const WRITES_TABLES: readonly string[] = WRITES_STREAMS.map(({ source }) => source);

/** The streams that `writes` adds; what is wrong with them is said at `span`. */
export function writesStreams(span: Span): readonly RawStream[] {
  return WRITES_STREAMS.map(({ name, sql }) => ({
    name,
    nameSpan: span,
    query: new QueryText(sql, new Int32Array(sql.length + 1).fill(span.start)),
    table: { name, span },
    isOurs: true,
  }));
}
