// Runs Next.js without its telemetry and on this machine's own address alone: `node scripts/next.mjs build|dev|start`.
import { spawnSync } from 'node:child_process';
import { cpSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

const folder = path.join(import.meta.dirname, '..');
const [verb = 'dev', ...rest] = process.argv.slice(2);
// `next dev` listens on every address unless it is told.
const address = verb === 'dev' ? ['--hostname', '127.0.0.1'] : [];
const { status } = spawnSync(
  process.execPath,
  verb === 'start' ? [prepareServer()] : [nextCli(), verb, ...address, ...rest],
  {
    cwd: folder,
    stdio: 'inherit',
    env: { ...process.env, NEXT_TELEMETRY_DISABLED: '1', HOSTNAME: '127.0.0.1' },
  },
);
process.exit(status ?? 1);

function nextCli() {
  return createRequire(import.meta.url).resolve('next/dist/bin/next');
}

/** The standalone server expects what browsers load beside itself; the build leaves it one folder away. */
function prepareServer() {
  const server = path.join(folder, '.next/standalone/console');
  cpSync(path.join(folder, '.next/static'), path.join(server, '.next/static'), { recursive: true });
  return path.join(server, 'server.js');
}
