import type { EventEmitter } from 'node:events';
import pg from 'pg';

const XLOG_DATA = 0x77; // 'w'
const XLOG_HEADER_BYTES = 25;
const COMMIT = 0x43; // 'C'
/** Offset of the end LSN in a Commit message: kind, flags, commit LSN. */
const COMMIT_END_LSN = 1 + 1 + 8;

/**
 * The baseline of the ingest bench: reads a slot as fast as the server sends, looks at nothing but what it needs to know
 * when to stop, and counts bytes. Answers no keepalives, which a drain of seconds does not need, and confirms nothing.
 *
 * @param endLsn the end LSN of the last commit to wait for
 * @returns bytes of WAL messages and the milliseconds from START_REPLICATION to that commit
 */
export async function readBare(
  url: string,
  slot: string,
  publication: string,
  endLsn: bigint,
): Promise<{ bytes: number; durationMs: number }> {
  const client = new pg.Client({ connectionString: url, replication: 'database' } as pg.ClientConfig); // The typings leave out what pg takes.
  client.on('error', () => {}); // The connection is torn down below while the server still sends.
  await client.connect();
  // pg hands out raw copy data only through its connection, which its typings leave out as well.
  const { connection } = client as unknown as { connection: EventEmitter & { stream: { destroy(): void } } };
  const startMs = performance.now();
  let bytes = 0;
  const done = new Promise<void>((resolve, reject) => {
    connection.on('copyData', ({ chunk }: { chunk: Buffer }) => {
      if (chunk[0] !== XLOG_DATA) return;
      bytes += chunk.length;
      if (chunk[XLOG_HEADER_BYTES] === COMMIT && chunk.readBigUInt64BE(XLOG_HEADER_BYTES + COMMIT_END_LSN) >= endLsn)
        resolve();
    });
    connection.on('errorMessage', (error: unknown) =>
      reject(error instanceof Error ? error : new Error(String(error))),
    );
    client.on('end', () => reject(new Error('the server ended the replication connection')));
  });
  done.catch(() => {}); // Awaited below; a late rejection after success means nothing.
  client
    .query(
      `START_REPLICATION SLOT ${client.escapeIdentifier(slot)} LOGICAL 0/0 (proto_version '1', publication_names '${publication}', messages 'true')`,
    )
    .catch(() => {});
  await done;
  const durationMs = performance.now() - startMs;
  connection.stream.destroy();
  return { bytes, durationMs };
}
