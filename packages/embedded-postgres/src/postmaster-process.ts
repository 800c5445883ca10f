import { existsSync } from 'node:fs';
import { readlink, realpath } from 'node:fs/promises';
import { poll } from './poll.ts';

const stopTimeoutMs = 30_000;
const killTimeoutMs = 5_000;

/**
 * Whether process `pid` is the server of `dataDir`. A number alone proves little, since a stale file may name a process
 * of somebody else by now; where /proc exists, a postmaster is known by its working folder, which is its data folder
 * (and which a zombie no longer has).
 */
export async function isPostmasterOf(pid: number, dataDir: string): Promise<boolean> {
  if (existsSync('/proc/self/cwd')) {
    const cwd = await readlink(`/proc/${pid}/cwd`).catch(() => undefined);
    return cwd !== undefined && cwd === (await realpath(dataDir));
  }
  return isAlive(pid);
}

/** Whether any process has this id, zombies included. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/**
 * Ends the server of `dataDir` with a checkpoint (SIGINT: "fast"), and without one (SIGQUIT) when it has not ended
 * within 30 s. Resolves when the process is gone; a server that is gone already is fine.
 */
export async function stopPostmaster(pid: number, dataDir: string): Promise<void> {
  if (await endBy('SIGINT', pid, dataDir, stopTimeoutMs)) return;
  if (await endBy('SIGQUIT', pid, dataDir, killTimeoutMs)) return;
  await killPostmaster(pid, dataDir);
}

/** Ends the server as a crash would; its children notice and end by themselves within about a second. */
export async function killPostmaster(pid: number, dataDir: string): Promise<void> {
  if (await endBy('SIGKILL', pid, dataDir, killTimeoutMs)) return;
  throw new Error(`server process ${pid} outlived SIGKILL`);
}

async function endBy(signal: NodeJS.Signals, pid: number, dataDir: string, timeoutMs: number): Promise<boolean> {
  if (!(await isPostmasterOf(pid, dataDir))) return true;
  process.kill(pid, signal);
  const gone = async (): Promise<true | undefined> => ((await isPostmasterOf(pid, dataDir)) ? undefined : true);
  return (await poll(gone, timeoutMs)) ?? false;
}
