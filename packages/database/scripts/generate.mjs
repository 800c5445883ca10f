// Generates the Prisma client into src/generated. Needs no network: the client is WebAssembly, and generation only
// insists that some executable stands where the native schema engine would.
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '../../..');
const require = createRequire(import.meta.url);
const prismaPackage = require.resolve('prisma/package.json');
const prismaCli = path.join(path.dirname(prismaPackage), require(prismaPackage).bin.prisma);

const { status, stdout, stderr, error } = spawnSync(
  process.execPath,
  [prismaCli, 'generate', '--schema', 'migrations/schema.prisma', '--no-hints'],
  {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, PRISMA_SCHEMA_ENGINE_BINARY: process.execPath, CHECKPOINT_DISABLE: '1' },
  },
);
if (status !== 0) {
  process.stderr.write(`generating the Prisma client failed\n${error?.message ?? ''}${stdout ?? ''}${stderr ?? ''}\n`);
  process.exit(1);
}
