import { EXTRA_STREAM, RANDOM_STREAMS } from '../../random/random-tables.ts';
import type { MakeFault } from './fault.ts';

/** From when a control plane is ready again: it waits for the dead one's hold of the job, and then deploys. */
const DEPLOY_WITHIN_MS = 60_000;

/** The control plane ends while it brings other rules into force; the next one goes on with that. */
export function controlPlaneEnds(how: 'SIGKILL' | 'SIGTERM'): MakeFault {
  return (scene) => {
    const { platform, customer, check, random } = scene;
    let stateAfter = 'succeeded';
    let code: number | undefined;
    return {
      async begin() {
        const [victim] = platform.running('control-plane');
        if (!victim) throw new Error('there is no control plane');
        const isPresent = customer.streams.includes(EXTRA_STREAM);
        check.tableUnsettled(EXTRA_STREAM.table);
        scene.note(`deploy ${isPresent ? 'without' : 'with'} ${EXTRA_STREAM.name}`);
        await customer.beginDeploy(isPresent ? RANDOM_STREAMS : [...RANDOM_STREAMS, EXTRA_STREAM]);
        await check.look();
        if (random.chance(0.5)) await scene.commit();
        if (how === 'SIGKILL') await victim.kill();
        else code = await victim.terminate();
      },
      async end() {
        await platform.add('control-plane');
        stateAfter = await platform.jobState(customer.ref);
        await platform.deployed(customer.ref, DEPLOY_WITHIN_MS);
        customer.endDeploy();
        await check.look();
      },
      async effect() {
        if (how === 'SIGTERM' && code !== 0) throw new Error(`the control plane ended with ${code} on SIGTERM`);
        return stateAfter === 'succeeded' ? undefined : `a deploy was ${stateAfter} when the control plane ended`;
      },
    };
  };
}
