import { fork } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { tokenFor } from './token.ts';

/** What the process with the data plane tells the bench. */
export interface ServeStack {
  readonly sourceUrl: string;
  readonly gatewayUrl: string;
  readonly tokenSecret: string;
  /** A port that writes as many bytes as it is asked for. */
  readonly barePort: number;
}
export interface ServeChild extends AsyncDisposable {
  readonly stack: ServeStack;
  token(user: string): Promise<string>;
}

/** Starts the data plane in a process of its own, with `rows` rows copied and ready to be served. */
export async function startServeChild(rows: number): Promise<ServeChild> {
  const child = fork(path.join(import.meta.dirname, 'serve-stack.js'), [String(rows)], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const [stack] = (await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(() => Promise.reject(new Error('the data plane did not start'))),
  ])) as [ServeStack]; // Sent by serve-stack.ts.
  return {
    stack,
    token: (user) => tokenFor(stack.tokenSecret, user),
    async [Symbol.asyncDispose]() {
      const exited = once(child, 'exit');
      child.disconnect();
      await exited;
    },
  };
}
