import { Secret } from '@sluice/config';
import type { Database, KeyEncryption } from '@sluice/database';
import { unreachable } from '@sluice/errors';
import { createMetrics, type Logger } from '@sluice/telemetry';
import { controlPlaneEvents } from '../events.ts';
import { createHttpApp } from '../http/http-app.ts';
import type { Provisioning } from '../jobs/provisioning.ts';
import { buildDocument } from './build-document.ts';

/** The OpenAPI document as text, without a database or a queue: only the routes' descriptions are read. */
export async function describeApi(): Promise<string> {
  const logger: Logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => logger };
  const app = await createHttpApp({
    // Nothing is ever called on these: the application is not started.
    database: {} as Database,
    keys: {} as KeyEncryption,
    provisioning: {} as Provisioning,
    provisioner: undefined,
    checkRules: () => unreachable(undefined as never),
    hostPolicy: 'hosted',
    token: new Secret(''),
    events: controlPlaneEvents(logger, createMetrics({ service: 'control-plane' })),
    logger,
  });
  try {
    return `${JSON.stringify(buildDocument(app), null, 2)}\n`;
  } finally {
    await app.close();
  }
}
