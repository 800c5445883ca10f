/** `npm run bench -- <name> [arguments]`: builds, then runs one benchmark of load-tests; without a name, lists them. */
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { fail, installIfMissing, root, runNode, StepFailed } from './repository.mjs';
import { toolPath } from './tools.mjs';

const [name, ...args] = process.argv.slice(2);
const folder = 'load-tests/dist/bench';

try {
  await installIfMissing();
  await runNode('scripts/build.mjs', [], { quiet: true });
  const names = existsSync(path.join(root, folder))
    ? readdirSync(path.join(root, folder)).flatMap((file) => /^(?!.*\.test)([a-z0-9-]+)\.js$/.exec(file)?.[1] ?? [])
    : [];
  if (!name || !names.includes(name)) {
    throw new StepFailed(`${name ? `no benchmark ${name}` : 'which benchmark?'} There are: ${names.join(', ')}`);
  }
  await runNode(`${folder}/${name}.js`, args, { env: { SLUICE_REDIS_SERVER: toolPath('redis-server') ?? '' } });
} catch (error) {
  fail(error);
}
