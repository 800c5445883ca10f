import { fork } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { PROJECT_REF } from '../stack.ts';
import type { LatencyTarget } from './measure.ts';

/** The data plane of the latency bench, as one process beside this one; it has servers of its own. */
export function startLatencyChild(): Promise<LatencyTarget & AsyncDisposable> {
  return startChild(path.join(import.meta.dirname, 'latency-stack.js'));
}

/** A program that sends where its data plane is, and ends when it is let go of. */
export async function startChild(program: string): Promise<LatencyTarget & AsyncDisposable> {
  const child = fork(program, {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const [stack] = (await once(child, 'message')) as [Omit<LatencyTarget, 'projectRef'>]; // Sent by latency-stack.ts.
  return {
    ...stack,
    projectRef: PROJECT_REF,
    async [Symbol.asyncDispose]() {
      const exited = once(child, 'exit');
      child.disconnect();
      await exited;
    },
  };
}
