import { manualClock, seededRandom } from '@sluice/testkit';
import { describe, expect, it } from 'vitest';
import { Admission, type AdmissionLimits } from './admission.ts';

const limits: AdmissionLimits = {
  connectionsMax: 100,
  handshakesMax: 100,
  connectionsPerAddressMax: 100,
  failedTokensPerMinuteMax: 100,
};
function admission(changed: Partial<AdmissionLimits> = {}) {
  const clock = manualClock();
  const random = seededRandom();
  const gate = new Admission({ ...limits, ...changed }, clock, () => random.next());
  return { clock, gate, seed: `seed ${random.seed}` };
}

describe('admission', () => {
  it('L16: a crowd is let in as fast as those before it are welcomed', () => {
    const { gate } = admission({ handshakesMax: 2 });
    const first = gate.enter('a');
    gate.enter('b');
    expect(gate.refusalOf('c')?.code).toBe('GATEWAY_FULL');
    first.welcomed();
    expect(gate.refusalOf('c')).toBeUndefined();
    gate.enter('c');
    first.left();
    expect(gate.refusalOf('d')?.code).toBe('GATEWAY_FULL');
  });

  it('L16: one address takes no more than its part, and others have theirs', () => {
    const { gate } = admission({ connectionsPerAddressMax: 1 });
    const visit = gate.enter('a');
    visit.welcomed();
    expect(gate.refusalOf('a')?.code).toBe('TOO_MANY_FROM_ADDRESS');
    expect(gate.refusalOf('b')).toBeUndefined();
    visit.left();
    expect(gate.refusalOf('a')).toBeUndefined();
  });

  it('an address that guesses at tokens waits until its minute is over', async () => {
    const { gate, clock } = admission({ failedTokensPerMinuteMax: 3 });
    for (let i = 0; i < 3; i++) {
      expect(gate.refusalOf('a')).toBeUndefined();
      const visit = gate.enter('a');
      visit.tokenRefused();
      visit.left();
      await clock.advance(10_000);
    }
    expect(gate.refusalOf('a')).toMatchObject({ code: 'TOO_MANY_FAILURES' });
    expect(gate.refusalOf('b')).toBeUndefined();
    await clock.advance(29_999);
    expect(gate.refusalOf('a')?.retryAfterS).toBeGreaterThan(3);
    await clock.advance(1);
    expect(gate.refusalOf('a')).toBeUndefined();
  });

  it('those that are sent away are told different times to come back', () => {
    const { gate, seed } = admission({ connectionsMax: 0 });
    const times = new Set(Array.from({ length: 200 }, () => gate.refusalOf('a')?.retryAfterS));
    expect(times.size, seed).toBeGreaterThan(8);
    expect(Math.min(...[...times].map((time) => time ?? 0)), seed).toBeGreaterThanOrEqual(3);
  });
});
