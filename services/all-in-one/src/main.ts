import { rm } from 'node:fs/promises';
import path from 'node:path';
import { controlPlaneLogFields } from '@sluice/control-plane';
import { createLogger, runUntilSignal, systemClock } from '@sluice/telemetry';
import { type Addresses, runAllInOne } from './app.ts';
import { readConfig } from './config.ts';
import { removeServers } from './embedded/servers.ts';
import { failureText } from './failure-text.ts';

const config = readConfig();
const logger = createLogger({
  service: 'all-in-one',
  level: config.SLUICE_LOG_LEVEL,
  clock: systemClock,
  allow: controlPlaneLogFields,
});

await runUntilSignal(
  async (signal) => {
    try {
      await start(signal);
    } catch (error) {
      logger.info('start failed', { error });
      console.error(`✗ ${failureText(error)}`);
      process.exit(1);
    }
  },
  { logger, clock: systemClock },
);

async function start(signal: AbortSignal): Promise<void> {
  const home = path.resolve(config.SLUICE_HOME);
  if (process.argv.includes('--fresh')) {
    console.log(`▸ starting over: removing ${home}`);
    await removeServers(home, systemClock);
    await rm(home, { recursive: true, force: true });
  }
  const report = (line: string): void => console.log(`▸ ${line}`);
  await runAllInOne({ config, clock: systemClock, logger, report }, printAddresses, signal);
}

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
