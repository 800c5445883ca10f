import { once } from 'node:events';
import { startBenchStack } from '../stack.ts';
import { ITEMS_RULES_YAML, ITEMS_SQL } from './items.ts';

/** The data plane of the latency bench, in a process of its own; ends when the bench lets go of it. */
await using stack = await startBenchStack(ITEMS_SQL, ITEMS_RULES_YAML);
process.send?.({
  sourceUrl: stack.sourceUrl,
  gatewayUrl: stack.gatewayUrl,
  tokenSecret: Buffer.from(stack.tokenSecret).toString('base64'),
});
await once(process, 'disconnect');
