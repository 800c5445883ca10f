import type { SourceSession } from './connection.ts';

/** Prefix of every message that we write into a source's WAL. */
export const MESSAGE_PREFIX = 'sluice';
export const HEARTBEAT = 'heartbeat';

/**
 * Writes a transactional message, whose commit becomes a position like any other. Transactional, since only a commit
 * makes the server work out anew what WAL a slot needs. @throws AppError
 */
export async function emitMessage(session: SourceSession, content: string): Promise<void> {
  await session.query('SELECT pg_catalog.pg_logical_emit_message(true, $1, $2)', [MESSAGE_PREFIX, content]);
}
