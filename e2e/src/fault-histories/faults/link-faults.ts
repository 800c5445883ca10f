import type { Direction, TcpProxy } from '@sluice/testkit';
import type { Scene } from '../scene.ts';
import type { MakeFault } from './fault.ts';

/** Between a service and what it stands on, or between a gateway and a client. */
export type LinkTo = 'source' | 'store' | 'redis' | 'client';

interface NamedLink {
  readonly name: string;
  readonly link: TcpProxy;
}

const DIRECTIONS: readonly Direction[] = ['toTarget', 'toClient'];
/** A link that carries nothing in this many transactions is not the one to cut. */
const COMMITS_UNTIL_CUT_MAX = 8;
/** Where in what is sent next a link is cut, bytes. */
const CUT_WITHIN_BYTES = 4_000;
/** A client says little. */
const CUT_WITHIN_BYTES_OF_CLIENT = 60;

/** One link: of the process that holds the customer, of a gateway that serves it, or of one of its clients. */
async function choose(scene: Scene, to: LinkTo): Promise<NamedLink> {
  const { platform, customer, random } = scene;
  if (to === 'source') {
    if (!customer.link) throw new Error('start the platform with links');
    return { name: 'replicator to source', link: customer.link };
  }
  if (to === 'client') {
    const { client, link } = random.pick(scene.devices);
    return { name: `gateway to ${client.claims.sub}`, link };
  }
  const of = random.pick(['replicator', 'bucket-worker', 'gateway'] as const);
  const process = of === 'gateway' ? random.pick(platform.running(of)) : await scene.holder(of);
  return { name: `${process.label} to ${to}`, link: process.links[to] };
}

/** The link is reset in the middle of what it carries, and for a while, or not at all, nobody gets through. */
export function linkCut(to: LinkTo): MakeFault {
  return (scene) => {
    const { random } = scene;
    const isRefusedAfter = random.chance(0.6);
    const direction = random.pick(DIRECTIONS);
    const isQuiet = to === 'client' && direction === 'toTarget';
    const at = random.int(0, isQuiet ? CUT_WITHIN_BYTES_OF_CLIENT : CUT_WITHIN_BYTES);
    let chosen: NamedLink | undefined;
    let cutsBefore = 0;
    return {
      async begin() {
        chosen = await choose(scene, to);
        const { link, name } = chosen;
        cutsBefore = link.midwayCuts;
        link.cutAfter(direction, at);
        for (let left = COMMITS_UNTIL_CUT_MAX; left > 0 && link.midwayCuts === cutsBefore; left--) await scene.commit();
        scene.note(`${name} is cut${isRefusedAfter ? ' and refused' : ''}`);
        if (isRefusedAfter) link.refuse();
      },
      end: async () => chosen?.link.heal(),
      effect: async () =>
        chosen && chosen.link.midwayCuts > cutsBefore ? `${chosen.name} was cut in the middle of a packet` : undefined,
    };
  };
}

/**
 * The link dies without a word: what is sent in one direction is lost, or nobody reads any more. After that a lost link is
 * reset, as a host does that has been restarted, and a held one goes on where it stood.
 */
export function linkHalfOpen(to: LinkTo): MakeFault {
  return (scene) => {
    const how = scene.random.pick([...DIRECTIONS, 'stall'] as const);
    let chosen: NamedLink | undefined;
    let swallowedBefore = 0;
    let bytesBefore = 0;
    let behind = 0;
    return {
      async begin() {
        chosen = await choose(scene, to);
        const { link, name } = chosen;
        scene.note(`${name}: ${how === 'stall' ? 'held' : `bytes ${how} are lost`}`);
        swallowedBefore = link.bytesSwallowed;
        bytesBefore = link.bytes.toTarget + link.bytes.toClient;
        if (how === 'stall') link.stall();
        else link.swallow(how);
        await scene.commitSome(1, 3);
      },
      async end() {
        behind = await scene.behind();
        if (!chosen) return;
        const { link } = chosen;
        // Bytes that are lost never come again, and nothing may come after them.
        if (how !== 'stall') link.cut();
        link.heal();
      },
      async effect() {
        if (!chosen) return undefined;
        const { link, name } = chosen;
        const lost = link.bytesSwallowed - swallowedBefore;
        if (how !== 'stall') return lost > 0 ? `${name} lost ${lost} bytes ${how}` : undefined;
        const passed = link.bytes.toTarget + link.bytes.toClient - bytesBefore;
        return behind > 0 && passed > 0 ? `${name} was held, ${behind} clients fell behind` : undefined;
      },
    };
  };
}
