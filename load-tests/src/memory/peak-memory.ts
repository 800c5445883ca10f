import { readFileSync } from 'node:fs';

const KB_PER_MB = 1024;

/** The most memory that a process ever held, megabytes: what the kernel counts as its peak resident set. */
export function peakMemoryMb(pid: number): number {
  const found = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  if (found === undefined) throw new Error(`process ${pid} does not say how much memory it had`);
  return Number(found) / KB_PER_MB;
}
