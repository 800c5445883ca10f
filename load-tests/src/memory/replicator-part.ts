import { once } from 'node:events';
import { parseProjectId } from '@sluice/domain';
import { startBenchDataPlane } from '../stack.ts';
import { partOptions } from './part.ts';

/** Replicator and bucket worker; the gateway that is joined to them never listens. */
const { rulesYaml, tokenSecret, ...urls } = partOptions();
await using plane = await startBenchDataPlane({ ...urls, tokenSecret: Buffer.from(tokenSecret, 'base64') });
plane.dataPlane.startProject(parseProjectId(1));
await plane.deploy(rulesYaml);
process.send?.('ready');
await once(process, 'disconnect');
