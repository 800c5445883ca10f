import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import path from 'node:path';

const TYPE_BY_EXTENSION: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.wasm': 'application/wasm',
  '.json': 'application/json',
  '.svg': 'image/svg+xml',
};

/** Answers a file below `root`, or false when there is none; a path that leaves `root` is none. */
export async function serveFile(root: string, urlPath: string, response: ServerResponse): Promise<boolean> {
  const file = path.resolve(root, `.${path.posix.normalize(urlPath === '/' ? '/index.html' : urlPath)}`);
  if (!file.startsWith(root + path.sep)) return false;
  const found = await stat(file).catch(() => undefined);
  if (!found?.isFile()) return false;
  response.writeHead(200, {
    'content-type': TYPE_BY_EXTENSION[path.extname(file)] ?? 'application/octet-stream',
    'content-length': found.size,
    'cache-control': urlPath.includes('/assets/') ? 'public, max-age=31536000, immutable' : 'no-cache',
    'x-content-type-options': 'nosniff',
  });
  await new Promise<void>((resolve, reject) => {
    createReadStream(file).on('error', reject).pipe(response).on('finish', resolve).on('error', reject);
  });
  return true;
}
