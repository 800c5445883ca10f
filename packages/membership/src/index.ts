export { type Held, Keeper, type KeeperEvents, type KeeperOptions } from './keeper.ts';
export type { Member, Membership } from './port.ts';
export { createRedisMembership, type RedisMembershipOptions } from './redis-membership.ts';
