import type { SourceConnection } from './connection.ts';
import { openSession } from './connection.ts';

/** What tells one server's history from another's. */
export interface ServerIdentity {
  readonly systemId: string;
  readonly timeline: number;
}

/** Asks IDENTIFY_SYSTEM. @throws AppError */
export async function identifySystem(connection: SourceConnection): Promise<ServerIdentity> {
  await using session = await openSession(connection, 'replication');
  const [row] = await session.query<{ systemid: string; timeline: number | string }>('IDENTIFY_SYSTEM');
  if (!row) throw new Error('no answer to IDENTIFY_SYSTEM');
  return { systemId: row.systemid, timeline: Number(row.timeline) };
}
