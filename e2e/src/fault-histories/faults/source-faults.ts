import { query, waitFor } from '@sluice/testkit';
import type { Scene } from '../scene.ts';
import type { MakeFault } from './fault.ts';

const WAL_SEGMENTS = 5;

interface SlotRow {
  readonly name: string;
  readonly status: string | null;
  readonly pid: number | null;
}

async function slotOf({ customer, stage }: Scene): Promise<SlotRow | undefined> {
  const sql = `select slot_name as name, wal_status as status, active_pid as pid from pg_replication_slots
    where database = $1 and not temporary`;
  const [slot] = await query<SlotRow & Record<string, unknown>>(stage.sources.url, sql, [customer.source.name]);
  return slot;
}

const FAILED = '"message":"source failed, trying again"';
/** How often the replicator fails before the source comes back: its pauses grow. */
const FAILED_TIMES = [0, 0, 1, 2, 4, 6];

/** The source's server crashes: with a transaction in the middle of its statements, or in the middle of its commit. */
export const sourceKilled: MakeFault = (scene) => {
  const { customer, stage, random } = scene;
  const { sources } = stage;
  const isHalf = random.chance(0.5);
  const times = random.pick(FAILED_TIMES);
  let waiting = 0;
  let failures = (): number => 0;
  return {
    async begin() {
      const replicator = await scene.holder('replicator');
      const mark = replicator.logMark;
      failures = () => replicator.logSince(mark).filter((line) => line.includes(FAILED)).length;
      waiting = await scene.whileHeld(async () => {
        const dying = isHalf
          ? await halfTransaction(scene)
          : { ended: customer.source.commit(`update tasks set points = -1`) };
        // It is one of the things that the crash may or may not undo.
        const ended = dying.ended.catch(() => {});
        await sources.kill();
        await ended;
        scene.isSourceDown = true;
        scene.note(`the source died in the middle of ${isHalf ? 'deleting all tasks' : 'a commit'}`);
      });
    },
    async end() {
      await waitFor(() => failures() >= times, { what: `the replicator to fail ${times} times`, timeoutMs: 60_000 });
      await sources.restart();
      // Only now it is known whether the commit came to be.
      await customer.reconnectToSource();
      scene.isSourceDown = false;
      await scene.check.look();
    },
    effect: async () => (waiting > 0 ? `the source died with ${waiting} frames on their way` : undefined),
  };
};

/** Resolves when all tasks are deleted and nothing is committed. */
async function halfTransaction({ customer, stage }: Scene): Promise<{ readonly ended: Promise<unknown> }> {
  const ended = customer.source.commit('delete from tasks', "select pg_sleep(60), 'half'");
  ended.catch(() => {});
  const sql = `select 1 from pg_stat_activity where datname = $1 and query like 'select pg_sleep%half%'`;
  const isSleeping = async (): Promise<boolean> =>
    (await query(stage.sources.url, sql, [customer.source.name])).length > 0;
  await waitFor(isSleeping, { what: 'the transaction to be half done' });
  return { ended };
}

/** Somebody drops the slot under the replicator. */
export const slotDropped: MakeFault = (scene) => {
  const { sources } = scene.stage;
  let epochBefore = 0;
  let name = '';
  return {
    async begin() {
      epochBefore = await scene.servingEpoch();
      const slot = await slotOf(scene);
      name = slot?.name ?? '';
      await scene.inFlight(() =>
        waitFor(
          async () => {
            await query(
              sources.url,
              'select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = $1 and active_pid is not null',
              [name],
            );
            await query(
              sources.url,
              'select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1',
              [name],
            );
            return true;
          },
          { what: 'the slot to be dropped' },
        ),
      );
      scene.note('the slot is dropped');
    },
    end: async () => {},
    async effect() {
      const epoch = await scene.servingEpoch();
      return name !== '' && epoch > epochBefore ? `slot dropped, epoch ${epoch} after ${epochBefore}` : undefined;
    },
  };
};

/** The server gives the slot up for its WAL while nobody reads it. */
export const slotLost: MakeFault = (scene) => {
  const { sources } = scene.stage;
  const { customer } = scene;
  let epochBefore = 0;
  let wasLost = false;
  const setting = (text: string): Promise<unknown> =>
    query(sources.url, `alter system ${text}`).then(() => query(sources.url, 'select pg_reload_conf()'));
  return {
    async begin() {
      epochBefore = await scene.servingEpoch();
      customer.link?.refuse();
      await waitFor(async () => (await slotOf(scene))?.pid === null, { what: 'nobody to read the slot' });
      await scene.commitSome(1, 3);
      await setting(`set max_slot_wal_keep_size = '1MB'`);
      for (let segment = 0; segment < WAL_SEGMENTS; segment++) {
        // Two statements of one text are one transaction, in which a segment has only one end.
        await query(customer.source.url, "select pg_logical_emit_message(true, 'other', 'x')");
        await query(customer.source.url, 'select pg_switch_wal()');
      }
      await query(sources.url, 'checkpoint');
      wasLost = (await slotOf(scene))?.status === 'lost';
      await setting('reset max_slot_wal_keep_size');
      scene.note(`the slot is ${wasLost ? 'lost' : 'not lost'}`);
    },
    end: async () => customer.link?.heal(),
    async effect() {
      const epoch = await scene.servingEpoch();
      return wasLost && epoch > epochBefore ? `slot lost, epoch ${epoch} after ${epochBefore}` : undefined;
    },
  };
};
