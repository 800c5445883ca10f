import type { Lsn } from '@sluice/domain';
import { describe, expect, it } from 'vitest';
import { batched, type Span } from './batch.ts';

const span = (after: number, through: number): Span => ({
  after: BigInt(after) as Lsn,
  through: BigInt(through) as Lsn,
});

function counted(refsMax = 100, turn: Promise<void> = Promise.resolve()) {
  const calls: { span: Span; refs: string[] }[] = [];
  const read = batched<string, string>({
    idOf: (ref) => ref,
    refsMax,
    load: async (span, take) => {
      await turn;
      const refs = take();
      calls.push({ span, refs });
      return new Map(refs.filter((ref) => ref !== 'absent').map((ref) => [ref, `${ref}!`]));
    },
  });
  return { calls, read };
}

describe('batched', () => {
  it('reads of one turn and one span are one call, each reference in it once', async () => {
    const { calls, read } = counted();
    const answers = await Promise.all([read(span(1, 2), 'a'), read(span(1, 2), 'b'), read(span(1, 2), 'a')]);
    expect(answers).toEqual(['a!', 'b!', 'a!']);
    expect(calls).toEqual([{ span: span(1, 2), refs: ['a', 'b'] }]);
  });
  it('who comes while the call waits for its turn joins it', async () => {
    let begin: (() => void) | undefined;
    const turn = new Promise<void>((resolve) => {
      begin = resolve;
    });
    const { calls, read } = counted(100, turn);
    const first = read(span(1, 2), 'a');
    await new Promise((resolve) => setImmediate(resolve));
    const second = read(span(1, 2), 'b');
    begin?.();
    expect(await Promise.all([first, second])).toEqual(['a!', 'b!']);
    expect(calls).toHaveLength(1);
  });
  it('different spans, and later turns, are calls of their own', async () => {
    const { calls, read } = counted();
    await Promise.all([read(span(1, 2), 'a'), read(span(1, 3), 'a')]);
    await read(span(1, 2), 'a');
    expect(calls).toHaveLength(3);
  });
  it('L16: a call holds a bounded number of references', async () => {
    const { calls, read } = counted(2);
    await Promise.all(['a', 'b', 'c', 'd', 'e'].map((ref) => read(span(1, 2), ref)));
    expect(calls.map((call) => call.refs.length)).toEqual([2, 2, 1]);
  });
  it('what the store does not know is undefined; what fails, fails for all that shared it', async () => {
    const { read } = counted();
    expect(await read(span(1, 2), 'absent')).toBeUndefined();
    const failing = batched<string, string>({
      idOf: (ref) => ref,
      refsMax: 9,
      load: () => Promise.reject(new Error('down')),
    });
    const both = await Promise.allSettled([failing(span(1, 2), 'a'), failing(span(1, 2), 'b')]);
    expect(both.map((result) => result.status)).toEqual(['rejected', 'rejected']);
  });
});
