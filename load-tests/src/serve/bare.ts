import { once } from 'node:events';
import { connect } from 'node:net';
import pg from 'pg';

/** Reads the table by COPY and looks at nothing. Returns the milliseconds that it took. */
export async function copyBare(sourceUrl: string, table: string): Promise<number> {
  const client = new pg.Client({ connectionString: sourceUrl });
  await client.connect();
  const startMs = performance.now();
  // pg receives the copied data of a plain query and drops it.
  await client.query(`copy ${table} to stdout`);
  const durationMs = performance.now() - startMs;
  await client.end();
  return durationMs;
}

/** Receives `bytes` bytes that the other process just writes. Returns the milliseconds that it took. */
export async function receiveBare(port: number, bytes: number): Promise<number> {
  const startMs = performance.now();
  const socket = connect(port, '127.0.0.1');
  socket.write(String(bytes));
  let received = 0;
  socket.on('data', (data) => {
    received += data.length;
  });
  await once(socket, 'end');
  if (received !== bytes) throw new Error(`${received} bytes instead of ${bytes}`);
  socket.destroy();
  return performance.now() - startMs;
}
