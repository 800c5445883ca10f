import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** What the launcher notes in the data folder: who runs the server, and how, so that a later start can take it over. */
export interface LaunchRecord {
  /** The process that answers for the server. */
  readonly ownerPid: number;
  readonly settings: Readonly<Record<string, string>>;
}

const fileName = 'sluice-launch.json';

export async function readLaunchRecord(dataDir: string): Promise<LaunchRecord | undefined> {
  const text = await readFile(join(dataDir, fileName), 'utf8').catch(() => undefined);
  return text === undefined ? undefined : parseLaunchRecord(text);
}

/** Undefined for anything but a whole record: then the server is stopped and started rather than taken over. */
export function parseLaunchRecord(text: string): LaunchRecord | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null || !('ownerPid' in value) || !('settings' in value)) return undefined;
  const { ownerPid, settings } = value;
  if (typeof ownerPid !== 'number' || typeof settings !== 'object' || settings === null) return undefined;
  const entries = Object.entries(settings).map(([name, setting]) => [name, String(setting)] as const);
  return { ownerPid, settings: Object.fromEntries(entries) };
}

export async function writeLaunchRecord(dataDir: string, record: LaunchRecord): Promise<void> {
  await writeFile(join(dataDir, fileName), JSON.stringify(record));
}

export function isSameSettings(a: LaunchRecord['settings'], b: LaunchRecord['settings']): boolean {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
}
