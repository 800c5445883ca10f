import type { StreamPlan } from '@sluice/sync-rules';
import { afterEach } from 'vitest';
import { docsPlan } from './docs-rules.ts';
import { type GatewayStack, gatewayStack, tokenFor } from './gateway-stack.ts';
import type { Change } from './model-source.ts';
import { SocketClient } from './socket-client.ts';

export const doc = (id: number, owner: string, body = `body ${id}`): Change => ({
  kind: 'doc',
  id,
  doc: { owner, team: 'red', body },
});

/** Documents by an `org` claim instead of the subject, so that a new token can change what a user may see. */
export const planByOrganization: StreamPlan = {
  ...docsPlan,
  memberships: [],
  buckets: docsPlan.buckets.slice(0, 1).map((bucket) => ({
    ...bucket,
    params: bucket.params.map((param) => ({ ...param, from: { kind: 'claim', claim: { path: ['org'] } } })),
  })),
};

const open: GatewayStack[] = [];
export async function started(options: Parameters<typeof gatewayStack>[0] = {}): Promise<GatewayStack> {
  const stack = await gatewayStack(options);
  open.push(stack);
  return stack;
}
afterEach(async () => {
  for (const stack of open.splice(0)) await stack.gateway.close();
});

export async function synced(
  stack: GatewayStack,
  user = 'ann',
  options: ConstructorParameters<typeof SocketClient>[1] = {},
) {
  const client = new SocketClient(stack.url, options);
  await client.hello(await tokenFor(user));
  await client.untilMessage('checkpoint-end');
  return client;
}
