/** `npm run service -- <name> [arguments]`: runs one built service in this process, configured by the environment. */
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { fail, root, StepFailed } from './repository.mjs';

const name = process.argv[2] ?? '';
const names = readdirSync(path.join(root, 'services'));
const main = path.join(root, 'services', name, 'dist', 'main.js');

if (!names.includes(name)) fail(new StepFailed(`which service? There are: ${names.join(', ')}`));
if (!existsSync(main)) fail(new StepFailed(`services/${name} is not built: run \`npm run build\``));
// The service sees its own arguments where it would see them had it been started directly.
process.argv.splice(1, 2, main);
await import(pathToFileURL(main).href);
