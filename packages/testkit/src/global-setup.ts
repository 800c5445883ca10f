import { postgresUrlKey, testConfig } from './config.ts';
import { freshCluster, sweepAbandonedClusters } from './fresh-cluster.ts';

/**
 * Vitest's global setup for projects that need Postgres: one throw-away cluster for the whole run, announced to the test
 * processes through the environment that they inherit. A server named there already is used as it is.
 */
export default async function startSharedCluster(): Promise<(() => Promise<void>) | undefined> {
  if (testConfig().postgresUrl) return undefined;
  await sweepAbandonedClusters();
  const cluster = await freshCluster();
  process.env[postgresUrlKey] = cluster.url;
  return async () => {
    delete process.env[postgresUrlKey];
    await cluster[Symbol.asyncDispose]();
  };
}
