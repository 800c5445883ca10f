import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Secret } from '@sluice/config';
import type { SourceProvisioner } from '@sluice/source-steps';
import { createLogger, systemClock } from '@sluice/telemetry';
import { freshDatabase } from '@sluice/testkit';
import { type ControlPlane, createControlPlane } from '../app.ts';
import type { ControlPlaneConfig } from '../config.ts';
import { controlPlaneLogFields } from '../events.ts';
import type { JobRunner } from '../jobs/run-provisioning-job.ts';
import { IMPATIENT } from './impatient.ts';

export const TEST_TOKEN = 'test-token-canary-0123456789abcdef';

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers freely and assert what they find.
  readonly json: any;
}

export interface TestControlPlane extends AsyncDisposable {
  readonly url: string;
  readonly databaseUrl: string;
  readonly keyFile: string;
  readonly directory: ControlPlane['directory'];
  /** Every line that was logged, at any level. */
  readonly logged: string[];
  /** An authenticated request with a JSON body. */
  call(method: string, path: string, body?: unknown): Promise<Answer>;
  /** A request as it is. */
  send(path: string, init: RequestInit): Promise<Answer>;
  /** Closes it; its database stays. */
  stop(): Promise<void>;
  /** Opens it again on the same database, closing it first where it is open. */
  restart(options?: TestOptions): Promise<void>;
}

export interface TestOptions {
  readonly provisioner?: SourceProvisioner | undefined;
  readonly faultPoint?: JobRunner['faultPoint'];
  readonly hosts?: ControlPlaneConfig['SOURCE_HOSTS'];
  /** Without it, the queue lives in the control database. */
  readonly redisUrl?: string | undefined;
}

/** A control plane on a database of its own, listening on a free port. */
export async function testControlPlane(options: TestOptions = {}): Promise<TestControlPlane> {
  const database = await freshDatabase('control_plane');
  const folder = await mkdtemp(path.join(tmpdir(), 'sluice-control-plane-'));
  const keyFile = path.join(folder, 'keys');
  const logged: string[] = [];
  const start = async (current: TestOptions) => {
    const controlPlane = await createControlPlane({
      config: {
        CONTROL_PLANE_TOKEN: new Secret(TEST_TOKEN),
        CONTROL_PLANE_PORT: 0,
        CONTROL_DATABASE_URL: new Secret(database.url),
        CONTROL_KEY_FILE: keyFile,
        REDIS_URL: current.redisUrl === undefined ? undefined : new Secret(current.redisUrl),
        SOURCE_HOSTS: current.hosts ?? 'local',
      },
      provisioner: current.provisioner,
      logger: createLogger({
        service: 'control-plane',
        level: 'debug',
        clock: systemClock,
        allow: controlPlaneLogFields,
        destination: { write: (line) => logged.push(line) },
      }),
      clock: systemClock,
      jobTimings: IMPATIENT,
      faultPoint: current.faultPoint,
    });
    return { controlPlane, ...(await controlPlane.listen()) };
  };
  let current = options;
  let running = await start(current);
  let isOpen = true;
  const stop = async (): Promise<void> => {
    if (isOpen) await running.controlPlane.close();
    isOpen = false;
  };
  const send = async (route: string, init: RequestInit): Promise<Answer> => {
    const response = await fetch(`${running.url}${route}`, init);
    const text = await response.text();
    const isJson = response.headers.get('content-type')?.includes('json') ?? false;
    return { status: response.status, headers: response.headers, text, json: isJson ? JSON.parse(text) : undefined };
  };
  return {
    get url() {
      return running.url;
    },
    get directory() {
      return running.controlPlane.directory;
    },
    databaseUrl: database.url,
    keyFile,
    logged,
    send,
    call: (method, route, body) =>
      send(route, {
        method,
        headers: {
          authorization: `Bearer ${TEST_TOKEN}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      }),
    stop,
    async restart(next = {}) {
      await stop();
      current = { ...current, ...next };
      running = await start(current);
      isOpen = true;
    },
    async [Symbol.asyncDispose]() {
      await stop();
      await database[Symbol.asyncDispose]();
      await rm(folder, { recursive: true });
    },
  };
}
