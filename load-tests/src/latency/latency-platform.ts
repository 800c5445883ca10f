import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { query } from '@sluice/testkit';
import { startPlatform } from '../processes/platform.ts';
import { startBenchServer } from '../stack.ts';
import { ITEMS_RULES_YAML, ITEMS_SQL } from './items.ts';
import type { LatencyTarget } from './measure.ts';

/** A data plane of several processes over a Redis, with servers of its own. */
export async function startLatencyPlatform(size: {
  readonly shards: number;
  readonly workers: number;
}): Promise<LatencyTarget & AsyncDisposable> {
  const home = await mkdtemp(path.join(tmpdir(), 'sluice-bench-'));
  await chmod(home, 0o755); // The servers may run as another account.
  const [source, store] = await Promise.all([startBenchServer(home, 'source'), startBenchServer(home, 'store')]);
  await query(source.url, ITEMS_SQL);
  const tokenSecret = randomBytes(32).toString('hex');
  const platform = await startPlatform({
    ...size,
    serverUrl: store.url,
    name: 'latency',
    hasGateway: true,
    sourceUrl: source.url,
    rulesYaml: ITEMS_RULES_YAML,
    tokenSecret,
  });
  return {
    sourceUrl: source.url,
    gatewayUrl: platform.gatewayUrl,
    projectRef: platform.ref,
    tokenSecret: Buffer.from(tokenSecret).toString('base64'),
    async [Symbol.asyncDispose]() {
      await platform[Symbol.asyncDispose]();
      await Promise.all([source.stop(), store.stop()]);
      await rm(home, { recursive: true, force: true });
    },
  };
}
