import type { LookupRef } from '@sluice/bucket-store';
import type { LookupId, Lsn, ProjectId, StreamNo } from '@sluice/domain';
import { batched, type Span } from '../batch.ts';
import type { FairStore } from '../fair-store.ts';
import type { LookupValues } from './grants.ts';

const LOOKUPS_PER_READ_MAX = 1000;

/** Membership of one project as of a checkpoint; sessions that ask in one turn share one read. */
export interface MembershipReader {
  values(lookups: readonly LookupRef[], through: Lsn): Promise<LookupValues>;
  /** Values that any op touched in the span: a grant that rests on one is not unbroken (L13). */
  touched(lookups: readonly LookupRef[], span: Span): Promise<LookupValues>;
  truncated(streams: readonly StreamNo[], span: Span): Promise<ReadonlySet<StreamNo>>;
}

export function membershipReaderOf(store: FairStore, project: ProjectId): MembershipReader {
  const idOf = (ref: LookupRef) => ref.lookup;
  const readValues = batched<LookupRef, string[]>({
    idOf,
    refsMax: LOOKUPS_PER_READ_MAX,
    load: (span, take) => store.inTurn(project, (direct) => direct.readMembership(project, take(), span.through)),
  });
  const readTouched = batched<LookupRef, string[]>({
    idOf,
    refsMax: LOOKUPS_PER_READ_MAX,
    load: (span, take) =>
      store.inTurn(project, (direct) => direct.readMembershipTouched(project, take(), span.after, span.through)),
  });
  const readTruncated = batched<StreamNo, true>({
    idOf: String,
    refsMax: LOOKUPS_PER_READ_MAX,
    load: (span, take) =>
      store.inTurn(project, async (direct) => {
        const truncated = await direct.readTruncated(project, take(), span.after, span.through);
        return new Map(truncated.map((stream) => [String(stream), true]));
      }),
  });
  return {
    values: (lookups, through) => gather(lookups, (ref) => readValues({ after: through, through }, ref)),
    touched: async (lookups, span) =>
      span.after === span.through ? new Map() : gather(lookups, (ref) => readTouched(span, ref)),
    truncated: async (streams, span) => {
      if (span.after === span.through) return new Set();
      const found = await Promise.all(streams.map((stream) => readTruncated(span, stream)));
      return new Set(streams.filter((_stream, i) => found[i]));
    },
  };
}

async function gather(
  lookups: readonly LookupRef[],
  read: (ref: LookupRef) => Promise<string[] | undefined>,
): Promise<LookupValues> {
  const found = await Promise.all(lookups.map(read));
  const values = new Map<LookupId, readonly string[]>();
  lookups.forEach(({ lookup }, i) => {
    const given = found[i];
    if (given && given.length > 0) values.set(lookup, given);
  });
  return values;
}
