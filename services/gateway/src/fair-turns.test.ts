import { seededRandom } from '@sluice/testkit';
import { describe, expect, it } from 'vitest';
import { FairTurns } from './fair-turns.ts';

/** Slices that a test lets go on, one by one, in the order in which they began. */
class Bench {
  readonly began: string[] = [];
  private readonly ends: (() => void)[] = [];
  readonly turns: FairTurns;
  private readonly members = new Map<string, object>();

  constructor(atOnceMax: number, atOncePerGroupMax = atOnceMax) {
    this.turns = new FairTurns({ atOnceMax, atOncePerGroupMax });
  }
  ask(group: string, name: string, count = 1): void {
    const member = this.members.get(group + name) ?? {};
    this.members.set(group + name, member);
    for (let i = 0; i < count; i++)
      void this.turns.run({ group, member }, () => {
        this.began.push(group + name);
        return new Promise((resolve) => this.ends.push(() => resolve(undefined)));
      });
  }
  async endOne(): Promise<void> {
    this.ends.shift()?.();
    for (let i = 0; i < 5; i++) await Promise.resolve();
  }
  get runningCount(): number {
    return this.ends.length;
  }
}

describe('fair turns', () => {
  it('L16: a tenant with a hundred sessions waiting delays another tenant by one slice', async () => {
    const bench = new Bench(1);
    for (let i = 0; i < 100; i++) bench.ask('a', String(i));
    bench.ask('b', '0');
    await bench.endOne();
    await bench.endOne();
    expect(bench.began).toEqual(['a0', 'a1', 'b0']);
  });

  it('L16: a session with a hundred slices to do delays another one of its tenant by one slice', async () => {
    const bench = new Bench(1);
    bench.ask('a', 'large', 100);
    bench.ask('a', 'small', 2);
    for (let i = 0; i < 5; i++) await bench.endOne();
    expect(bench.began.filter((name) => name === 'asmall')).toHaveLength(2);
  });

  it('one tenant alone leaves the places free that are not its own', async () => {
    const bench = new Bench(4, 2);
    bench.ask('a', '0', 10);
    expect(bench.runningCount).toBe(2);
    bench.ask('b', '0');
    expect(bench.began).toEqual(['a0', 'a0', 'b0']);
  });

  it('a slice that fails gives its turn back', async () => {
    const turns = new FairTurns({ atOnceMax: 1, atOncePerGroupMax: 1 });
    const key = { group: 'a', member: {} };
    await expect(turns.run(key, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(await turns.run(key, async () => 'yes')).toBe('yes');
  });

  it('at random: never more at once than allowed, nobody is forgotten, tenants that wait take turns', async () => {
    const random = seededRandom();
    const bench = new Bench(3, 2);
    let asked = 0;
    for (let step = 0; step < 500; step++) {
      if (random.int(0, 2) > 0) {
        asked++;
        bench.ask(String.fromCharCode(97 + random.int(0, 3)), String(random.int(0, 4)));
      } else await bench.endOne();
      expect(bench.runningCount, `seed ${random.seed}`).toBeLessThanOrEqual(3);
    }
    while (bench.runningCount > 0) await bench.endOne();
    expect(bench.began, `seed ${random.seed}`).toHaveLength(asked);
    expect(bench.turns.waitingCount).toBe(0);
  });
});
