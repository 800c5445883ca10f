import { waitFor } from '@sluice/testkit';
import { describe, expect, it } from 'vitest';
import { tokenFor } from './testing/gateway-stack.ts';
import { doc, planByOrganization, started, synced } from './testing/sessions.ts';
import { Sluicegate } from './testing/sluicegate.ts';
import { SocketClient } from './testing/socket-client.ts';

describe('while the ground moves', () => {
  it('the store goes away and comes back: the session stays, says so, and goes on by itself', async () => {
    const gate = new Sluicegate();
    const stack = await started({ readsThrough: (store) => gate.over(store), config: { pollMs: 30 } });
    const client = await synced(stack);
    gate.isDown = true;
    const lsn = await stack.source.commit([doc(1, 'ann')]);
    await client.until(() => client.messages.some((m) => m.type === 'source' && m.code === 'STORE_UNAVAILABLE'));
    const { reads } = gate;
    await waitFor(() => gate.reads > reads + 3, { what: 'further tries' });
    gate.isDown = false;
    await client.untilLsn(lsn);
    await client.until(() => client.messages.findLast((m) => m.type === 'source')?.state === 'live');
  });

  it('L13: claims that change in the middle of a checkpoint end it: no byte by the former ones follows', async () => {
    const gate = new Sluicegate();
    const stack = await started({ plan: planByOrganization, readsThrough: (store) => gate.over(store) });
    await stack.source.commit([doc(1, 'org-a'), doc(2, 'org-b')]);
    gate.hold();
    const client = new SocketClient(stack.url);
    await client.hello(await tokenFor('ann', { claims: { org: 'org-a' } }));
    await waitFor(() => gate.isHolding, { what: 'the first checkpoint to be read' });
    client.send({ type: 'token', token: await tokenFor('ann', { claims: { org: 'org-b' } }) });
    expect(await client.closed).toEqual({ code: 1012, reason: 'SESSION_RESTART' });
    gate.release();
    expect(client.messages.some((message) => message.type === 'chunk')).toBe(false);
    const again = new SocketClient(stack.url, { replica: client.replica });
    await again.hello(await tokenFor('ann', { claims: { org: 'org-b' } }));
    await again.untilMessage('checkpoint-end');
    expect(again.replica.rows()).toHaveLength(1);
  });

  it('claims that entitle to the same do not disturb a checkpoint under way', async () => {
    const gate = new Sluicegate();
    const stack = await started({ readsThrough: (store) => gate.over(store) });
    await stack.source.commit([doc(1, 'ann')]);
    gate.hold();
    const client = new SocketClient(stack.url);
    await client.hello(await tokenFor('ann'));
    await waitFor(() => gate.isHolding, { what: 'the first checkpoint to be read' });
    client.send({ type: 'token', token: await tokenFor('ann', { claims: { theme: 'dark' } }) });
    client.send({ type: 'ping', nonce: 5 });
    await client.untilMessage('pong');
    gate.release();
    await client.untilMessage('checkpoint-end');
  });

  it('L12: streams that are switched in the middle of a checkpoint end it before its end', async () => {
    const gate = new Sluicegate();
    const stack = await started({ readsThrough: (store) => gate.over(store) });
    await stack.source.commit([doc(1, 'ann')]);
    gate.hold();
    const client = new SocketClient(stack.url);
    await client.hello(await tokenFor('ann'));
    await waitFor(() => gate.isHolding, { what: 'the first checkpoint to be read' });
    await stack.source.redeploy();
    await stack.source.commit([doc(2, 'ann')]);
    await waitFor(async () => (await stack.store.readStreams(stack.source.project)).length === 2, { what: 'both' });
    // The gateway has heard of the switch once its next look at the store is answered.
    const { reads } = gate;
    stack.wakeUps.publish({ kind: 'streams', project: stack.source.project });
    await waitFor(() => gate.reads > reads + 1, { what: 'the streams to be read' });
    gate.release();
    expect(await client.closed).toEqual({ code: 1012, reason: 'SESSION_RESTART' });
    expect(client.replica.applied).toEqual([]);
    const again = new SocketClient(stack.url, { replica: client.replica });
    await again.hello(await tokenFor('ann'));
    await again.untilMessage('checkpoint-end');
    expect(again.replica.rows()).toHaveLength(2);
  });

  it.each(['the wake-up is lost', 'reading them fails'])(
    'L11, L12: no checkpoint above a switch of streams is shown with the old ones when %s',
    async (how) => {
      const gate = new Sluicegate();
      const stack = await started({ readsThrough: (store) => gate.over(store), config: { pollMs: 60_000 } });
      await stack.source.commit([doc(1, 'ann')]);
      const client = await synced(stack);
      if (how === 'the wake-up is lost') await stack.source.redeploy({ publish: false });
      else {
        gate.isDown = true;
        await stack.source.redeploy();
        await client.until(() => client.messages.some((m) => m.type === 'source' && m.code === 'STORE_UNAVAILABLE'));
        gate.isDown = false;
      }
      const lsn = await stack.source.commit([doc(2, 'ann')]);
      await client.untilLsn(lsn);
      expect(client.replica.rows()).toHaveLength(2);
    },
  );

  it('a client that vanishes in the middle of a checkpoint leaves nothing behind', async () => {
    const gate = new Sluicegate();
    const stack = await started({ readsThrough: (store) => gate.over(store) });
    await stack.source.commit([doc(1, 'ann')]);
    gate.hold();
    const client = new SocketClient(stack.url);
    await client.hello(await tokenFor('ann'));
    await waitFor(() => gate.isHolding, { what: 'the first checkpoint to be read' });
    client.socket.terminate();
    await waitFor(() => stack.gateway.stats().connections === 0, { what: 'the session to end' });
    gate.release();
    expect(stack.gateway.stats()).toMatchObject({ sessions: 0, projects: 0, buckets: 0 });
  });
});
