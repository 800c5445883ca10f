import { once } from 'node:events';
import { startBenchDataPlane } from '../stack.ts';
import { partOptions } from './part.ts';

/** A gateway over the store; no project runs in this process, so it finds checkpoints by polling. */
const { tokenSecret, ...urls } = partOptions();
await using plane = await startBenchDataPlane({ ...urls, tokenSecret: Buffer.from(tokenSecret, 'base64') });
const { url } = await plane.dataPlane.gateway.listen();
process.send?.(url);
await once(process, 'disconnect');
