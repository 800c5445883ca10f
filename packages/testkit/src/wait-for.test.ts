import { describe, expect, it } from 'vitest';
import { waitFor } from './wait-for.ts';

describe('waitFor', () => {
  it('gives the first truthy value, past failures', async () => {
    let tries = 0;
    const value = await waitFor(
      () => {
        tries += 1;
        if (tries === 1) throw new Error('not yet');
        return tries === 3 ? 'there' : undefined;
      },
      { what: 'the third try', intervalMs: 1 },
    );
    expect(value).toBe('there');
  });

  it('says what it waited for and the last value', async () => {
    const waiting = waitFor(() => 0, { what: 'the count to rise', timeoutMs: 5, intervalMs: 1 });
    await expect(waiting).rejects.toThrow('waited 5 ms for the count to rise; the last try gave 0');
  });

  it('says what the last try threw', async () => {
    const broken = (): never => {
      throw new Error('connection refused');
    };
    await expect(waitFor(broken, { what: 'the server', timeoutMs: 5, intervalMs: 1 })).rejects.toThrow(
      /the last try threw Error: connection refused/,
    );
  });

  it('counts a slow look as no more than it is told to', async () => {
    let looks = 0;
    const slowly = async (): Promise<boolean> => {
      await new Promise((resolve) => setTimeout(resolve, 40));
      return ++looks === 4;
    };
    const options = { what: 'the fourth look', timeoutMs: 50, intervalMs: 1 };
    await expect(waitFor(slowly, options)).rejects.toThrow('waited 50 ms');
    looks = 0;
    await expect(waitFor(slowly, { ...options, countedMsMax: 10 })).resolves.toBe(true);
  });
});
