import { once } from 'node:events';
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { serveFolder } from '../browser/serve-folder.ts';
import { run, start } from './run.ts';

const root = path.join(import.meta.dirname, '../../..');

interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
}
/** A tarball's address by the name of its package. */
export type Tarballs = ReadonlyMap<string, string>;

/** A folder outside of the repository, with the published packages as tarballs. */
export async function packTarballs(): Promise<{ readonly tarballs: Tarballs } & AsyncDisposable> {
  const folder = await mkdtemp(path.join(tmpdir(), 'sluice-tarballs-'));
  const printed = await run(root, process.execPath, 'scripts/pack-packages.mjs', folder);
  const names = printed.trim().split('\n');
  const tarballs = new Map(names.map((tarball) => [nameOf(tarball), tarball]));
  return { tarballs, [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) };
}
/** `sluice-client-0.1.0.tgz` is `@sluice/client`. */
function nameOf(tarball: string): string {
  return path.basename(tarball).replace(/^sluice-([a-z-]+)-\d.*$/, '@sluice/$1');
}

/** An app of this folder, copied to where nothing of the repository is above it, and installed. */
export interface ConsumerApp extends AsyncDisposable {
  readonly folder: string;
  /** Runs a program of its dependencies, or node. */
  run(command: string, ...args: readonly string[]): Promise<string>;
}

/**
 * @param how `npm` installs as an app's developer would, from the registry or npm's cache; `link` unpacks the tarballs and links
 *   everybody else's packages from the repository, which needs neither and takes a tenth of the time
 */
export async function consumerApp(
  fixture: 'vite' | 'next' | 'node',
  tarballs: Tarballs,
  how: 'npm' | 'link',
): Promise<ConsumerApp> {
  const folder = await mkdtemp(path.join(tmpdir(), `sluice-consumer-${fixture}-`));
  await cp(path.join(import.meta.dirname, fixture), folder, { recursive: true });
  if (how === 'npm') await installFromNpm(folder, tarballs);
  else await installByLinks(folder, tarballs);
  return {
    folder,
    run: (command, ...args) => run(folder, programIn(folder, command), ...args),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}
function programIn(folder: string, command: string): string {
  return command === 'node' ? process.execPath : path.join(folder, 'node_modules/.bin', command);
}

async function installFromNpm(folder: string, tarballs: Tarballs): Promise<void> {
  const manifest = await manifestIn(folder);
  const dependencies = Object.entries(manifest.dependencies ?? {}).map(([name, version]) => {
    const tarball = tarballs.get(name);
    return [name, tarball ? `file:${tarball}` : version];
  });
  await writeManifest(folder, { ...manifest, dependencies: Object.fromEntries(dependencies) });
  await run(folder, 'npm', 'install', '--prefer-offline', '--no-audit', '--no-fund', '--ignore-scripts');
}

async function installByLinks(folder: string, tarballs: Tarballs): Promise<void> {
  const modules = path.join(folder, 'node_modules');
  const manifest = await manifestIn(folder);
  const wanted = new Set(Object.keys({ ...manifest.dependencies, ...manifest.devDependencies }));
  for (const name of wanted) {
    const tarball = tarballs.get(name);
    if (tarball) {
      await unpack(tarball, path.join(modules, name));
      const { dependencies = {} } = await manifestIn(path.join(modules, name));
      for (const needed of Object.keys(dependencies)) wanted.add(needed);
    } else await link(name, modules);
  }
}
async function unpack(tarball: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true });
  await run(to, 'tar', '-xzf', tarball, '--strip-components=1');
}
async function link(name: string, modules: string): Promise<void> {
  const to = path.join(modules, name);
  await mkdir(path.dirname(to), { recursive: true });
  const from = path.join(root, 'node_modules', name);
  await symlink(from, to);
  const { bin = {} } = createRequire(import.meta.url)(path.join(from, 'package.json')) as {
    bin?: string | Record<string, string>;
  };
  const programs = typeof bin === 'string' ? { [name]: bin } : bin;
  await mkdir(path.join(modules, '.bin'), { recursive: true });
  for (const [program, file] of Object.entries(programs))
    await symlink(path.join(from, file), path.join(modules, '.bin', program));
}

async function manifestIn(folder: string): Promise<Manifest> {
  // Each is a manifest of ours, as npm wrote it.
  return JSON.parse(await readFile(path.join(folder, 'package.json'), 'utf8')) as Manifest;
}
async function writeManifest(folder: string, manifest: Manifest): Promise<void> {
  await writeFile(path.join(folder, 'package.json'), JSON.stringify(manifest, null, 2));
}

/** Writes the examples of the packages' READMEs into the app, one file each, and gives their number. */
export async function copyExamples({ folder }: ConsumerApp, packages: readonly string[]): Promise<number> {
  let copied = 0;
  for (const name of packages) {
    const readme = await readFile(path.join(folder, 'node_modules', name, 'README.md'), 'utf8');
    for (const [, language, code] of readme.matchAll(/^```(tsx?)\n([\s\S]*?)^```$/gm)) {
      copied++;
      await writeFile(path.join(folder, 'examples', `example-${copied}.${language}`), code ?? '');
    }
  }
  return copied;
}

export interface Site extends AsyncDisposable {
  readonly url: string;
}

/** Builds for production and serves what came out. */
export async function buildVite(app: ConsumerApp): Promise<Site> {
  await app.run('vite', 'build', '--logLevel', 'warn');
  return serveFolder(path.join(app.folder, 'dist'));
}

/** Builds for production, which checks types, and starts the server. */
export async function buildNext(app: ConsumerApp): Promise<Site> {
  await app.run('next', 'build');
  const server = start(app.folder, programIn(app.folder, 'next'), 'start', '--hostname', '127.0.0.1', '--port', '0');
  const stop = async (): Promise<void> => {
    if (server.exitCode !== null) return;
    const closed = once(server, 'close');
    server.kill('SIGTERM');
    await closed;
  };
  let said = '';
  const url = new Promise<string>((resolve, reject) => {
    server.stdout?.on('data', (chunk: Buffer) => {
      said += chunk.toString();
      const [found] = /http:\/\/127\.0\.0\.1:[1-9]\d*/.exec(said) ?? [];
      if (found && said.includes('Ready')) resolve(found);
    });
    server.stderr?.on('data', (chunk: Buffer) => {
      said += chunk.toString();
    });
    server.once('close', (code) => reject(new Error(`next start ended with ${code}\n${said}`)));
  });
  return { url: await url, [Symbol.asyncDispose]: stop };
}
