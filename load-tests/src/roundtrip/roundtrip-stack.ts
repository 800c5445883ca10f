import { once } from 'node:events';
import { startBenchStack } from '../stack.ts';
import { TASKS_RULES_YAML, TASKS_SQL } from './tasks.ts';

/** The data plane of the roundtrip bench, in a process of its own; ends when the bench lets go of it. */
await using stack = await startBenchStack(TASKS_SQL, TASKS_RULES_YAML);
process.send?.({
  sourceUrl: stack.sourceUrl,
  gatewayUrl: stack.gatewayUrl,
  tokenSecret: Buffer.from(stack.tokenSecret).toString('base64'),
});
await once(process, 'disconnect');
