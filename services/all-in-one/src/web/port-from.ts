import { createServer } from 'node:net';

const TRIES_MAX = 20;

/** The first port from `wanted` on that nothing on 127.0.0.1 listens on. @throws Error when twenty in a row are taken */
export async function portFrom(wanted: number): Promise<number> {
  for (let port = wanted; port < wanted + TRIES_MAX; port++) if (await isFree(port)) return port;
  throw new Error(`ports ${wanted} to ${wanted + TRIES_MAX - 1} are all taken`);
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
