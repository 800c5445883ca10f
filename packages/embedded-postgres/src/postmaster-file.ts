import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** What a running server writes about itself into `postmaster.pid`, one item a line. */
export interface PostmasterFile {
  readonly pid: number;
  readonly port: number | undefined;
  /** Line 8 says `ready` once connections are accepted; before, the line is missing or names an earlier state. */
  readonly isReady: boolean;
}

/** Undefined for text that does not even begin with a process id (an empty or half-written file). */
export function parsePostmasterFile(text: string): PostmasterFile | undefined {
  const lines = text.split('\n').map((line) => line.trim());
  const pid = parsePositive(lines[0]);
  if (pid === undefined) return undefined;
  return { pid, port: parsePositive(lines[3]), isReady: lines[7] === 'ready' };
}

export async function readPostmasterFile(dataDir: string): Promise<PostmasterFile | undefined> {
  const text = await readFile(postmasterFilePath(dataDir), 'utf8').catch(() => '');
  return parsePostmasterFile(text);
}

export function postmasterFilePath(dataDir: string): string {
  return join(dataDir, 'postmaster.pid');
}

function parsePositive(text: string | undefined): number | undefined {
  if (text === undefined || !/^[0-9]{1,10}$/.test(text)) return undefined;
  const value = Number(text);
  return value > 0 ? value : undefined;
}
