import { waitFor } from '@sluice/testkit';
import type { ServiceProcess } from '../../processes/service-process.ts';
import type { Holder, Scene } from '../scene.ts';
import type { MakeFault } from './fault.ts';

/** `SIGKILL` ends it as a crash does, `SIGTERM` as a deploy does. */
type Ending = 'SIGKILL' | 'SIGTERM';

/** A frozen process is continued when another has its leases; that takes about as long as they live. */
const LEASES_MOVE_MS = 60_000;

async function end(process: ServiceProcess, how: Ending): Promise<number | undefined> {
  if (how === 'SIGTERM') return process.terminate();
  await process.kill();
  return undefined;
}

/** The process that holds the customer ends while commits are on their way; another takes over. */
export function holderEnds(name: Holder, how: Ending): MakeFault {
  return (scene) => {
    let label = '';
    let inFlight = 0;
    let before = 0n;
    let ended: Promise<number | undefined> = Promise.resolve(undefined);
    return {
      async begin() {
        const victim = await scene.holder(name);
        label = victim.label;
        before = await scene.leaseToken(name);
        inFlight = await scene.inFlight(async () => {
          ended = end(victim, how);
          // A process that is stopped drains only once it goes on.
          if (how === 'SIGKILL') await ended;
        });
      },
      end: async () => void (await ended),
      async effect() {
        const code = await ended;
        if (inFlight === 0 || (await scene.leaseToken(name)) === before) return undefined;
        if (how === 'SIGTERM' && code !== 0) throw new Error(`${label} ended with ${code} on SIGTERM`);
        return `${label} ended with ${inFlight} on their way, another has its lease`;
      },
    };
  };
}

/** The process that holds the customer stops for longer than its lease, and goes on as if nothing had been. */
export function holderFreezes(name: Holder): MakeFault {
  return (scene) => {
    let victim: ServiceProcess | undefined;
    let before = 0n;
    let inFlight = 0;
    let hasMoved = false;
    return {
      async begin() {
        const frozen = await scene.holder(name);
        victim = frozen;
        before = await scene.leaseToken(name);
        inFlight = await scene.rightAfterCommit(async () => frozen.signal('SIGSTOP'));
      },
      async end() {
        hasMoved = await waitFor(async () => (await scene.leaseToken(name)) > before, {
          what: `the lease of the frozen ${name} to move`,
          timeoutMs: LEASES_MOVE_MS,
        });
        victim?.signal('SIGCONT');
      },
      async effect() {
        if (!hasMoved || inFlight === 0 || !victim?.isRunning) return undefined;
        return `${victim.label} stopped with a commit on its way and went on when another had its lease`;
      },
    };
  };
}

function busiestGateway({ platform }: Scene): ServiceProcess {
  const [busiest] = platform
    .running('gateway')
    .toSorted((a, b) => platform.connectionsTo(b) - platform.connectionsTo(a));
  if (!busiest) throw new Error('there is no gateway');
  return busiest;
}

/** A gateway ends while its clients have not been sent everything. */
export function gatewayEnds(how: Ending): MakeFault {
  return (scene) => {
    let clients = 0;
    let inFlight = 0;
    let label = '';
    let ended: Promise<number | undefined> = Promise.resolve(undefined);
    return {
      async begin() {
        const victim = busiestGateway(scene);
        label = victim.label;
        inFlight = await scene.inFlight(async () => {
          clients = scene.platform.connectionsTo(victim);
          ended = end(victim, how);
          await ended;
        });
      },
      end: async () => void (await ended),
      async effect() {
        const code = await ended;
        if (inFlight === 0 || clients === 0) return undefined;
        if (how === 'SIGTERM' && code !== 0) throw new Error(`${label} ended with ${code} on SIGTERM`);
        return `${label} ended with ${clients} clients, to whom ${inFlight} were on their way`;
      },
    };
  };
}

/** A gateway stops and goes on; its clients are behind meanwhile. */
export const gatewayFreezes: MakeFault = (scene) => {
  let victim: ServiceProcess | undefined;
  let clients = 0;
  let behind = 0;
  return {
    async begin() {
      const frozen = busiestGateway(scene);
      victim = frozen;
      clients = scene.platform.connectionsTo(frozen);
      await scene.rightAfterCommit(async () => frozen.signal('SIGSTOP'));
    },
    async end() {
      behind = await scene.behind();
      victim?.signal('SIGCONT');
    },
    effect: async () =>
      clients > 0 && behind > 0
        ? `${victim?.label} stopped with ${clients} clients, ${behind} users fell behind`
        : undefined,
  };
};
