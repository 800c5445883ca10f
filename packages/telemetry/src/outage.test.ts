import { manualClock } from '@sluice/testkit';
import { expect, it } from 'vitest';
import { OUTAGE_QUIET_MS, outage } from './outage.ts';

it('an outage is told once for each kind of error and once when it is over, however many retries fail', async () => {
  const clock = manualClock();
  const told: string[] = [];
  const trouble = outage({
    clock,
    begun: (error) => told.push(`begun: ${String(error)}`),
    kindOf: (error) => String(error).split(' ')[0],
    ended: (failures) => told.push(`ended after ${failures}`),
  });
  for (let i = 0; i < 20; i++) {
    trouble(`refused ${i}`);
    await clock.advance(OUTAGE_QUIET_MS - 1);
  }
  trouble('full');
  expect(told).toEqual(['begun: refused 0', 'begun: full']);
  await clock.advance(OUTAGE_QUIET_MS);
  expect(told.slice(2)).toEqual(['ended after 21']);
  trouble('refused again');
  expect(told.slice(3)).toEqual(['begun: refused again']);
  await clock.advance(OUTAGE_QUIET_MS);
  expect(told.slice(4)).toEqual(['ended after 1']);
  expect(clock.pendingTimers).toBe(0);
});
