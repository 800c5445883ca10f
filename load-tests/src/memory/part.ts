import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { peakMemoryMb } from './peak-memory.ts';

/** What a part of the data plane is told on its command line, as JSON. */
export interface PartOptions {
  readonly sourceUrl: string;
  readonly storeUrl: string;
  /** base64 */
  readonly tokenSecret: string;
  /** Made ready by deploying these rules, when the part is the one that deploys. */
  readonly rulesYaml: string;
}
/** One part of the data plane in a process of its own, which does nothing else. */
export interface Part extends AsyncDisposable {
  /** What it said when it was ready. */
  readonly said: string;
  peakMb(): number;
}

/** @param file the part's module, beside this one */
export async function startPart(file: string, options: PartOptions): Promise<Part> {
  const child = fork(path.join(import.meta.dirname, file), [JSON.stringify(options)], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const said = await firstMessage(child);
  const { pid } = child;
  if (pid === undefined) throw new Error(`${file} has no process`);
  return {
    said,
    peakMb: () => peakMemoryMb(pid),
    async [Symbol.asyncDispose]() {
      const exited = once(child, 'exit');
      child.disconnect();
      await exited;
    },
  };
}

async function firstMessage(child: ChildProcess): Promise<string> {
  const gone = once(child, 'exit').then(() => Promise.reject(new Error('a part of the data plane did not start')));
  const [said] = (await Promise.race([once(child, 'message'), gone])) as [unknown]; // `once` gives any.
  return String(said);
}

/** In the part: its options. */
export function partOptions(): PartOptions {
  return JSON.parse(process.argv[2] ?? '') as PartOptions; // Written by startPart.
}
