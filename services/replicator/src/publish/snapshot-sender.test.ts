import type { Epoch, LeaseToken, Lsn, ProjectId, StreamNo } from '@sluice/domain';
import { createMemoryWakeUps, type OpQueue, type SnapshotFrame } from '@sluice/op-queue';
import { manualClock, waitFor } from '@sluice/testkit';
import { expect, it } from 'vitest';
import { SnapshotSender } from './snapshot-sender.ts';

const project = 1 as ProjectId;
const never = new AbortController().signal;

function part(no: number): SnapshotFrame {
  return {
    kind: 'snapshot',
    project,
    ...{ epoch: 1 as Epoch, shard: 0, mapVersion: 1, leaseToken: 1n as LeaseToken, streams: [1 as StreamNo] },
    ...{ pointLsn: 1n as Lsn, schema: 'public', table: 't', part: no, last: true, rows: new Uint8Array(0) },
  } as unknown as SnapshotFrame; // Nothing here looks into its rows.
}

it('a part that is lost with its shard’s holder is sent again soon enough to heal within ten seconds, and ever more rarely', async () => {
  const clock = manualClock();
  const wakeUps = createMemoryWakeUps();
  let published = 0;
  const queue = { publish: async () => void published++ } as unknown as OpQueue; // It loses whatever it gets.
  const sender = new SnapshotSender({ queue, wakeUps, clock, project });
  await sender.send(part(0), never);
  expect(published).toBe(1);
  const drained = sender.drained(never);
  let waitedMs = 0;
  const againAt: number[] = [];
  for (let seen = 1; seen < 4; seen++) {
    await waitFor(
      async () => {
        await clock.advance(250);
        waitedMs += 250;
        return published > seen;
      },
      { what: 'the part to be sent again', intervalMs: 0 },
    );
    againAt.push(waitedMs);
  }
  expect(againAt[0]).toBeLessThanOrEqual(5_000);
  const pauses = againAt.map((at, i) => at - (againAt[i - 1] ?? 0));
  expect(pauses[1]).toBeGreaterThan(pauses[0] ?? 0);
  expect(pauses[2]).toBeGreaterThan(pauses[1] ?? 0);
  wakeUps.publish({
    kind: 'snapshot-part',
    project,
    streams: [1 as StreamNo],
    table: 'public.t',
    part: 0,
    outcome: 'applied',
  });
  await drained;
  sender.close();
});
