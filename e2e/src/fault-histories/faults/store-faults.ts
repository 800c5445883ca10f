import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { waitFor } from '@sluice/testkit';
import type { ServiceProcess } from '../../processes/service-process.ts';
import type { Scene } from '../scene.ts';
import type { MakeFault } from './fault.ts';

const UNANSWERED = '"message":"bucket store does not answer"';
/** How often a worker asks in vain before the store comes back: its pauses grow from 50 ms to 5 s. */
const UNANSWERED_TIMES = [0, 1, 1, 2, 4, 7];
const NO_SPACE = /could not (?:extend|write).*No space left on device/g;

interface Watch {
  readonly worker: ServiceProcess;
  readonly mark: number;
}

/** Waits until one of the workers has found the store unable to answer so often. */
async function isMissed(scene: Scene, watches: readonly Watch[], times: number): Promise<void> {
  if (times === 0) return;
  const count = ({ worker, mark }: Watch): number =>
    worker.logSince(mark).filter((line) => line.includes(UNANSWERED)).length;
  await waitFor(() => watches.some((watch) => count(watch) >= times), {
    what: `a worker to ask the store ${times} times in vain`,
    timeoutMs: 60_000,
  });
  scene.note(`the store was asked ${times} times in vain`);
}

/** The store's server, and with it the control database, crashes while frames are being applied. */
export const storeKilled: MakeFault = (scene) => {
  const { cluster } = scene.platform;
  const times = scene.random.pick(UNANSWERED_TIMES);
  let waiting = 0;
  let watches: readonly Watch[] = [];
  return {
    async begin() {
      watches = (await scene.workers()).map((worker) => ({ worker, mark: worker.logMark }));
      waiting = await scene.whileHeld(() => cluster.kill());
    },
    async end() {
      await isMissed(scene, watches, times);
      await cluster.restart();
    },
    effect: async () => (waiting > 0 ? `the store died with ${waiting} frames on their way` : undefined),
  };
};

/** Rows that do not compress to nothing, about a megabyte. */
const MUCH = `insert into tasks (id, owner, title, body)
  select 5000000 + i, 'ana', 'much', (select string_agg(md5(random()::text || i || j), '') from generate_series(1, 100) j)
  from generate_series(1, 300) i on conflict do nothing`;
const MUCH_LESS = 'delete from tasks where id >= 5000000';

/** There is no room left for rows of the store; then there is again. */
export const storeDiskFull: MakeFault = (scene) => {
  const { disk } = scene.stage;
  const { cluster } = scene.platform;
  let refusals = 0;
  let refusalsBefore = 0;
  const refused = async (): Promise<number> => {
    const log = await readFile(path.join(cluster.dataDir, 'sluice-server.log'), 'utf8');
    return [...log.matchAll(NO_SPACE)].length;
  };
  return {
    async begin() {
      if (!disk) return;
      refusalsBefore = await refused();
      await disk.fill();
      scene.note('the disk of the store is full');
      for (let tries = 3; tries > 0 && (await refused()) === refusalsBefore; tries--) {
        await scene.commit([MUCH_LESS, MUCH]);
        await waitFor(async () => (await refused()) > refusalsBefore, {
          what: 'the store to run out of space',
          timeoutMs: 2_000,
        }).catch(() => {});
      }
    },
    async end() {
      refusals = disk ? (await refused()) - refusalsBefore : 0;
      await scene.commit([MUCH_LESS]);
      await disk?.free();
    },
    effect: async () => (refusals > 0 ? `the store found no space ${refusals} times (53100)` : undefined),
  };
};
