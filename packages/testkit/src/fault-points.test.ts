import { describe, expect, it } from 'vitest';
import { type FaultPoint, faultPoints } from './fault-points.ts';

async function twoSteps(done: string[], point?: FaultPoint): Promise<void> {
  done.push('first');
  await point?.('between');
  done.push('second');
}

describe('faultPoints', () => {
  it('is nothing where it is not armed, but counts', async () => {
    const faults = faultPoints();
    const done: string[] = [];
    await twoSteps(done, faults.point);
    await twoSteps(done);
    expect(done).toEqual(['first', 'second', 'first', 'second']);
    expect(faults.passes('between')).toBe(1);
  });

  it('holds one run at an armed place until it is released', async () => {
    const faults = faultPoints();
    const done: string[] = [];
    const fault = faults.arm('between');
    const running = twoSteps(done, faults.point);
    await fault.reached;
    expect(done).toEqual(['first']);
    fault.release();
    await running;
    await twoSteps(done, faults.point);
    expect(done).toEqual(['first', 'second', 'first', 'second']);
  });

  it('lets as many runs through first as it is told to', async () => {
    const faults = faultPoints();
    const fault = faults.arm('between', { skip: 2 });
    await twoSteps([], faults.point);
    await twoSteps([], faults.point);
    const done: string[] = [];
    const running = twoSteps(done, faults.point);
    await fault.reached;
    expect(done).toEqual(['first']);
    fault.release();
    await running;
  });

  it('fails the step when told to', async () => {
    const faults = faultPoints();
    const done: string[] = [];
    const fault = faults.arm('between');
    const running = twoSteps(done, faults.point);
    await fault.reached;
    fault.fail(new Error('disk gone'));
    await expect(running).rejects.toThrow('disk gone');
    expect(done).toEqual(['first']);
  });

  it('lets everything go at the end of a test', async () => {
    const faults = faultPoints();
    const fault = faults.arm('between');
    const running = twoSteps([], faults.point);
    await fault.reached;
    faults.releaseAll();
    await running;
  });
});
