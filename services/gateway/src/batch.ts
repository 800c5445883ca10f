import type { Lsn } from '@sluice/domain';

/** A half-open stretch of checkpoints: what came after `after`, up to and including `through`. */
export interface Span {
  readonly after: Lsn;
  readonly through: Lsn;
}

interface Round<Ref, Answer> {
  readonly span: Span;
  readonly refById: Map<string, Ref>;
  readonly answers: Promise<ReadonlyMap<string, Answer>>;
}

/**
 * Joins the reads that many sessions ask for before the read is made: one store call per span, each reference in it once, at
 * most `refsMax` of them. A wake-up resumes all affected sessions in one turn of the event loop, so they share one read;
 * a crowd that comes back at once shares those that wait for their turn at the store. `load` calls `take` when it begins.
 */
export function batched<Ref, Answer>(options: {
  readonly idOf: (ref: Ref) => string;
  readonly load: (span: Span, take: () => Ref[]) => Promise<ReadonlyMap<string, Answer>>;
  readonly refsMax: number;
}): (span: Span, ref: Ref) => Promise<Answer | undefined> {
  const { idOf, load, refsMax } = options;
  const roundBySpan = new Map<string, Round<Ref, Answer>>();

  function begin(key: string, span: Span): Round<Ref, Answer> {
    const refById = new Map<string, Ref>();
    const take = (): Ref[] => {
      if (roundBySpan.get(key)?.refById === refById) roundBySpan.delete(key);
      return [...refById.values()];
    };
    const answers = Promise.resolve().then(() => load(span, take));
    answers.catch(take);
    const round = { span, refById, answers };
    roundBySpan.set(key, round);
    return round;
  }

  return async (span, ref) => {
    const key = `${span.after}-${span.through}`;
    let round = roundBySpan.get(key);
    if (!round || round.refById.size >= refsMax) round = begin(key, span);
    const id = idOf(ref);
    round.refById.set(id, ref);
    return (await round.answers).get(id);
  };
}
