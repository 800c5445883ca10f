import { manualClock } from '@sluice/testkit';
import { expect, it } from 'vitest';
import { CopyProgress, type CopyStatus } from './copy-progress.ts';

const table = (rowsEstimate: number, bytes: number, shareDone = 0) => ({ rowsEstimate, bytes, shareDone });

it('tells rows, bytes and the time that is left at the pace so far; an estimate never falls behind', async () => {
  const clock = manualClock();
  const told: CopyStatus[] = [];
  const progress = new CopyProgress(clock, [table(100, 1000), table(300, 3000)], (status) => told.push(status));
  expect(told.at(-1)).toEqual({
    ...{ rowsDone: 0, rowsEstimate: 400, bytesDone: 0, bytesEstimate: 4000, secondsLeft: undefined },
  });
  await clock.advance(2000);
  progress.add(100, 900);
  expect(told.at(-1)).toMatchObject({ rowsDone: 100, bytesDone: 900, secondsLeft: 6 });
  progress.add(500, 9000);
  expect(told.at(-1)).toMatchObject({ rowsDone: 600, rowsEstimate: 600, bytesEstimate: 9900, secondsLeft: 0 });
});

it('a resumed copy begins with what was done, and tells the time by what it does itself', async () => {
  const clock = manualClock();
  const told: CopyStatus[] = [];
  const progress = new CopyProgress(clock, [table(1000, 1000, 0.5)], (status) => told.push(status));
  expect(told.at(-1)).toMatchObject({ rowsDone: 500, bytesDone: 500 });
  await clock.advance(1000);
  progress.add(100, 100);
  expect(told.at(-1)).toMatchObject({ rowsDone: 600, secondsLeft: 4 });
});
