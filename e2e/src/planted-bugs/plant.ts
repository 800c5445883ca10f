/**
 * Loaded before everything else (`node --import`), this plants the bug that SLUICE_PLANTED_BUG names: compiled modules are
 * changed as they are loaded, migrations as they are read. Nothing on disk changes.
 */
import promises from 'node:fs/promises';
import { register, syncBuiltinESMExports } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { plantedConfig } from './config.ts';
import type { HookData } from './load-hook.ts';
import { type Edit, notePlanted, plantedText } from './planted-text.ts';
import { bugNamed } from './the-bugs.ts';

const ROOT = path.resolve(import.meta.dirname, '../../..');

const { bug } = plantedConfig();
if (bug) plant(bugNamed(bug).edits);

function plant(edits: readonly Edit[]): void {
  const modules = editsByUrl(edits.filter(({ file }) => !file.endsWith('.sql')));
  const hook = new URL(`./load-hook${path.extname(import.meta.filename)}`, import.meta.url);
  if (modules.size > 0) register(hook, { data: modules });
  const migrations = editsByUrl(edits.filter(({ file }) => file.endsWith('.sql')));
  if (migrations.size > 0) plantInFilesRead(migrations);
}

function editsByUrl(edits: readonly Edit[]): HookData {
  const byUrl = new Map<string, readonly Edit[]>();
  for (const edit of edits) {
    const url = pathToFileURL(path.join(ROOT, edit.file)).href;
    byUrl.set(url, [...(byUrl.get(url) ?? []), edit]);
  }
  return byUrl;
}

function plantInFilesRead(byUrl: HookData): void {
  const { readFile } = promises;
  const readPlanted = async (...args: Parameters<typeof readFile>): Promise<string | Buffer> => {
    const content = await readFile(...args);
    const [file] = args;
    const edits = file instanceof URL ? byUrl.get(file.href) : undefined;
    if (!edits) return content;
    for (const edit of edits) notePlanted(edit.file);
    return edits.reduce(plantedText, String(content));
  };
  Object.assign(promises, { readFile: readPlanted });
  syncBuiltinESMExports();
}
