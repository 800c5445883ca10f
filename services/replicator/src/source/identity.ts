import { type Lsn, lsnFromBigint, parseLsn } from '@sluice/domain';
import type { SourceConnection } from '@sluice/source-connection';
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

/** Beyond any WAL location. */
const NEVER = lsnFromBigint(0x7fffffffffffffffn);

/**
 * Where the server's history left the timeline `from`: what was written on it beyond that LSN is no part of what the server
 * has now. A failover that lost nothing we hold leaves it above our position. @throws AppError
 */
export async function timelineSwitch(
  connection: SourceConnection,
  timelines: { readonly from: number; readonly to: number },
): Promise<Lsn> {
  const { from, to } = timelines;
  if (from === to) return NEVER;
  if (to < from) return lsnFromBigint(0n);
  await using session = await openSession(connection, 'replication');
  const [row] = await session.query<{ content: string | Buffer }>(`TIMELINE_HISTORY ${to}`);
  const lines = String(row?.content ?? '').split('\n');
  // A line gives a timeline and the LSN at which the next one began.
  const left = lines.map((line) => line.split('\t')).find(([timeline]) => Number(timeline) >= from);
  return left?.[1] === undefined ? lsnFromBigint(0n) : parseLsn(left[1].trim());
}
