import { Secret } from '@sluice/config';
import { createLogger, systemClock } from '@sluice/telemetry';
import { createControlPlane } from '../app.ts';
import { IMPATIENT } from './impatient.ts';
import { scriptedProvisioner } from './scripted-provisioner.ts';

/**
 * A control plane in a process of its own, for tests to kill. Says `reached` on standard output when its provisioner
 * stands in the middle of a snapshot, and stays there.
 */
const [databaseUrl = '', keyFile = '', token = '', redisUrl] = process.argv.slice(2);
const provisioner = scriptedProvisioner();
provisioner.apply = async (_project, _rules, onProgress) => {
  await onProgress({ step: 'publication', done: 1, estimate: 1 });
  await onProgress({ step: 'slot', done: 1, estimate: 1 });
  await onProgress({ step: 'snapshot', done: 400, estimate: 1000 });
  process.stdout.write('reached\n');
  await new Promise(() => {});
};

const controlPlane = await createControlPlane({
  config: {
    CONTROL_PLANE_TOKEN: new Secret(token),
    CONTROL_PLANE_PORT: 0,
    CONTROL_DATABASE_URL: new Secret(databaseUrl),
    CONTROL_KEY_FILE: keyFile,
    REDIS_URL: redisUrl === undefined ? undefined : new Secret(redisUrl),
    SOURCE_HOSTS: 'local',
  },
  provisioner,
  logger: createLogger({ service: 'control-plane', level: 'error', clock: systemClock }),
  clock: systemClock,
  jobTimings: IMPATIENT,
});
await controlPlane.listen();
