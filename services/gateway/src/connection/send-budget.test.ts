import { seededRandom } from '@sluice/testkit';
import { describe, expect, it } from 'vitest';
import { SendBudget } from './send-budget.ts';

const KB = 1024;
const WRITE = 4 * KB;

/** Fills an account with writes until it has no room. Returns the bytes that it then holds. */
function fill(account: ReturnType<SendBudget['account']>, already = 0): number {
  let bytes = already;
  while (account.hasRoom) {
    bytes += WRITE;
    account.set(bytes);
  }
  return bytes;
}

describe('send budget', () => {
  const limits = { processBytesMax: 4096 * KB, projectBytesMax: 2048 * KB, sessionBytesMax: 256 * KB };

  it('L16: one session holds its own bound and a write at most', () => {
    const budget = new SendBudget(limits);
    const bytes = fill(budget.account(() => 'a'));
    expect(bytes).toBeLessThanOrEqual(256 * KB + WRITE);
    expect(bytes).toBeGreaterThanOrEqual(256 * KB);
  });

  it('L16: however many clients of one project do not read, another project still has room', () => {
    const budget = new SendBudget(limits);
    for (let i = 0; i < 500; i++) fill(budget.account(() => 'stalled'));
    // Each had one message although the project's part was used up.
    expect(budget.bytes).toBeLessThanOrEqual(limits.projectBytesMax + 500 * WRITE);
    const other = fill(budget.account(() => 'other'));
    expect(other).toBeGreaterThan(4 * WRITE);
  });

  it('L16: however many clients there are that do not read, the process holds its bound and a write at most', () => {
    const budget = new SendBudget(limits);
    for (let i = 0; i < 5000; i++) fill(budget.account(() => `project ${i % 50}`));
    expect(budget.peakBytes).toBeLessThanOrEqual(limits.processBytesMax * 2 + WRITE);
  });

  it('who has taken everything may be sent one more message, although others hold more than all', () => {
    const budget = new SendBudget({ ...limits, processBytesMax: 64 * KB });
    budget.account(() => 'a').set(100 * KB);
    const reader = budget.account(() => 'a');
    expect(reader.hasRoom).toBe(true);
    reader.set(WRITE);
    expect(reader.hasRoom).toBe(false);
  });

  it('who waits because others hold everything is told when they let go', async () => {
    const budget = new SendBudget({ ...limits, processBytesMax: 64 * KB });
    const holder = budget.account(() => 'a');
    holder.set(128 * KB);
    const waiting = budget.account(() => 'b');
    expect(waiting.hasRoom).toBe(false);
    const told = new Promise<void>((resolve) => {
      waiting.whenOthersMakeRoom(resolve);
    });
    holder.close();
    await told;
    expect(waiting.hasRoom).toBe(true);
  });

  it('at random: the sums are those of the accounts, and nothing is left when all are closed', () => {
    const random = seededRandom();
    const budget = new SendBudget(limits);
    const accounts = Array.from({ length: 20 }, (_, i) => ({ account: budget.account(() => `p${i % 3}`), bytes: 0 }));
    for (let step = 0; step < 2000; step++) {
      const one = random.pick(accounts);
      one.bytes = random.int(0, 200 * KB);
      one.account.set(one.bytes);
      expect(budget.bytes).toBe(accounts.reduce((sum, { bytes }) => sum + bytes, 0));
    }
    for (const { account } of accounts) account.close();
    expect(budget.bytes).toBe(0);
    expect(fill(budget.account(() => 'p0'))).toBeGreaterThanOrEqual(256 * KB);
  });
});
