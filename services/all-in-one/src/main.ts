import { rm } from 'node:fs/promises';
import path from 'node:path';
import { createLogger, runUntilSignal, systemClock } from '@sluice/telemetry';
import { type Addresses, runAllInOne } from './app.ts';
import { readConfig } from './config.ts';
import { removeServers } from './embedded/servers.ts';

const config = readConfig();
const logger = createLogger({ service: 'all-in-one', level: config.SLUICE_LOG_LEVEL, clock: systemClock });

await runUntilSignal(
  async (signal) => {
    if (process.argv.includes('--fresh')) {
      console.log(`▸ starting over: removing ${config.SLUICE_HOME}`);
      await removeServers(path.resolve(config.SLUICE_HOME));
      await rm(path.resolve(config.SLUICE_HOME), { recursive: true, force: true });
    }
    await runAllInOne(
      { config, clock: systemClock, logger, report: (line) => console.log(`▸ ${line}`) },
      printAddresses,
      signal,
    );
  },
  { logger, clock: systemClock },
);

function printAddresses(addresses: Addresses): void {
  console.log(`
  Sluice is running.

  Departure board   ${addresses.board}
  Sign in as        ${addresses.users.join(', ')}
  Control plane     ${addresses.controlPlane}/v1/projects   (OpenAPI: ${addresses.controlPlane}/openapi.json)
  Operator token    ${addresses.controlPlaneToken}
  Sync gateway      ${addresses.gateway}
  Customer's data   psql ${addresses.tenantDatabase}

  Ctrl-C stops everything; the next start goes on from here.
`);
}
