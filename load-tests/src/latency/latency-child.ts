import { fork } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { PROJECT_REF } from '../stack.ts';
import type { LatencyTarget } from './measure.ts';

/** A data plane that is one process, beside this one; it has servers of its own. */
export async function startLatencyChild(): Promise<LatencyTarget & AsyncDisposable> {
  const child = fork(path.join(import.meta.dirname, 'latency-stack.js'), {
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
