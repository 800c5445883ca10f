import { type FreshCluster, freshCluster, query } from '@sluice/testkit';
import { Platform } from '../processes/platform.ts';
import type { ServiceName, ServiceProcess } from '../processes/service-process.ts';
import { logWriters } from '../processes/writers-log.ts';
import { mountSmallDisk, type SmallDisk } from './small-disk.ts';

export const LEASE_TTL_MS = 3_000;
/** Room for the store's rows of one history after the other. */
const DISK_BYTES = 192 << 20;

const WANTED: readonly (readonly [ServiceName, number])[] = [
  ['control-plane', 1],
  ['replicator', 2],
  ['bucket-worker', 2],
  ['gateway', 2],
];

/** Two of each service and one control plane, over servers that histories break and put right again. */
export class FaultStage implements AsyncDisposable {
  readonly platform: Platform;
  readonly sources: FreshCluster;
  /** Below the rows of the store, where one can be mounted. */
  readonly disk: SmallDisk | undefined;
  #shards = 1;

  private constructor(parts: Pick<FaultStage, 'platform' | 'sources' | 'disk'>) {
    this.platform = parts.platform;
    this.sources = parts.sources;
    this.disk = parts.disk;
  }

  static async start(): Promise<FaultStage> {
    const disk = await mountSmallDisk(DISK_BYTES);
    // A walsender notices in a few seconds that nobody listens, and its receiver that nobody talks.
    const sources = await freshCluster({ wal_sender_timeout: '4s' });
    const storeFolder = async (cluster: FreshCluster): Promise<string> => {
      await disk?.giveToOwnerOf(cluster.dataDir);
      return disk?.folder ?? '';
    };
    const platform = await Platform.start({
      hasLinks: true,
      settings: { SLUICE_LEASE_TTL_MS: String(LEASE_TTL_MS) },
      ...(disk ? { storeFolder } : {}),
    });
    const stage = new FaultStage({ platform, sources, disk });
    await stage.#fill();
    await logWriters(platform.storeUrl);
    return stage;
  }

  /** Makes everything as a history expects it: all processes there and ready, new projects with so many shards. */
  async prepare(shards: number): Promise<void> {
    const { platform } = this;
    const replaced = this.#shards === shards ? [] : platform.running('replicator');
    if (this.#shards !== shards) platform.set({ SLUICE_SHARDS: String(shards) });
    await Promise.all(replaced.map((replicator) => replicator.terminate()));
    this.#shards = shards;
    await this.#fill();
  }

  /** Puts everything right that a history may have left broken when it failed. */
  async recover(): Promise<void> {
    const { platform, sources, disk } = this;
    platform.forgetCrashed();
    for (const [name] of WANTED)
      for (const process of platform.running(name)) {
        process.signal('SIGCONT');
        process.links.store.heal();
        process.links.redis.heal();
      }
    await disk?.free();
    await platform.redis.command('CONFIG', 'SET', 'maxmemory', '0').catch(() => platform.redis.restart());
    for (const server of [sources, platform.cluster]) await query(server.url, 'select 1').catch(() => server.restart());
    await this.#fill();
  }

  async #fill(): Promise<void> {
    const { platform } = this;
    // The control plane makes the tables that the others read.
    for (const [name, count] of WANTED) {
      const lacking = count - platform.running(name).length;
      const added = Array.from({ length: Math.max(0, lacking) }, () => platform.add(name));
      await Promise.all([...added, ...platform.running(name).map((process: ServiceProcess) => process.ready())]);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.platform[Symbol.asyncDispose]();
    await this.sources[Symbol.asyncDispose]();
    await this.disk?.[Symbol.asyncDispose]();
  }
}
