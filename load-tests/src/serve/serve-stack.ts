import { once } from 'node:events';
import { createServer } from 'node:net';
import { BENCH_RULES_YAML } from '../source/bench-tables.ts';
import { startBenchStack } from '../stack.ts';
import type { ServeStack } from './serve-child.ts';
import { servedTablesSql } from './serve-tables.ts';

/** The data plane of the serve bench, in a process of its own; ends when the bench lets go of it. */
const rows = Number(process.argv[2]);
const WRITE_BYTES = 64 * 1024;

await using stack = await startBenchStack(servedTablesSql(rows), BENCH_RULES_YAML);
const bare = createServer((socket) => {
  socket.on('error', () => {});
  socket.once('data', (request) => {
    // As much as the client asks for, as fast as the socket takes it: the bare write of the same bytes.
    let left = Number(request.toString());
    const block = Buffer.alloc(WRITE_BYTES, 7);
    const more = (): void => {
      while (left > 0) {
        const size = Math.min(left, WRITE_BYTES);
        left -= size;
        if (!socket.write(block.subarray(0, size))) return void socket.once('drain', more);
      }
      socket.end();
    };
    more();
  });
});
bare.listen(0, '127.0.0.1');
await once(bare, 'listening');
const address = bare.address();
const ready: ServeStack = {
  sourceUrl: stack.sourceUrl,
  gatewayUrl: stack.gatewayUrl,
  tokenSecret: Buffer.from(stack.tokenSecret).toString('base64'),
  barePort: typeof address === 'object' && address ? address.port : 0,
};
process.send?.(ready);
await once(process, 'disconnect');
bare.close();
