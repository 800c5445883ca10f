import { bucketIdOf, type LookupRef, lookupIdOf } from '@sluice/bucket-store';
import type { BucketId, LookupId, StreamNo } from '@sluice/domain';
import { AppError } from '@sluice/errors';
import { LIMITS } from '@sluice/protocol';
import { bucketKeysFrom, resolveClaims } from '@sluice/sync-rules';
import type { ServedStream } from '../model.ts';

export type TokenClaims = Readonly<Record<string, unknown>>;
/** Values per lookup as of one checkpoint; a lookup without values is absent. */
export type LookupValues = ReadonlyMap<LookupId, readonly string[]>;
type Resolved = ReturnType<typeof resolveClaims>;

interface StreamGrant {
  readonly resolved: Resolved;
  readonly lookups: readonly LookupRef[];
  readonly lookupIdOf: (membership: number, lookupKey: string) => LookupId;
}

/**
 * What one set of token claims entitles to (L13). Pure: membership values are handed in, as of the checkpoint that the
 * answer is meant for. Streams are resolved once and remembered.
 */
export class Grants {
  readonly claims: TokenClaims;
  private readonly grantByStream = new Map<StreamNo, StreamGrant>();

  constructor(claims: TokenClaims) {
    this.claims = claims;
  }

  /** The lookups whose values decide the buckets of these streams, without duplicates. */
  lookups(streams: readonly ServedStream[]): LookupRef[] {
    return streams.flatMap((stream) => this.grantOf(stream).lookups);
  }

  /** @throws AppError TOO_MANY_BUCKETS */
  buckets(streams: readonly ServedStream[], values: LookupValues): Map<BucketId, StreamNo> {
    const granted = new Map<BucketId, StreamNo>();
    for (const stream of streams) {
      const { resolved, lookupIdOf } = this.grantOf(stream);
      const valuesOf = (membership: number, key: string) => values.get(lookupIdOf(membership, key)) ?? [];
      this.collect(granted, stream, resolved, valuesOf);
    }
    return granted;
  }

  /**
   * Buckets whose grant rests on a touched value: it may have ended and begun again, so chunks of that stretch may hold
   * rows that the session was not entitled to (L13). `values` are those at the end of the stretch.
   */
  touchedBuckets(streams: readonly ServedStream[], values: LookupValues, touched: LookupValues): ReadonlySet<BucketId> {
    const broken = new Map<BucketId, StreamNo>();
    for (const stream of streams) {
      const { resolved, lookups, lookupIdOf } = this.grantOf(stream);
      for (const { lookup } of lookups) {
        const touchedValues = new Set(touched.get(lookup));
        if (touchedValues.size === 0) continue;
        // One lookup gives only those of its values that were touched, the others all: every bucket that it feeds now.
        const valuesOf = (membership: number, key: string) => {
          const id = lookupIdOf(membership, key);
          const all = values.get(id) ?? [];
          return id === lookup ? all.filter((value) => touchedValues.has(value)) : all;
        };
        const fed = resolved.disjuncts.filter(({ params }) =>
          params.some((param) => param.kind === 'lookup' && lookupIdOf(param.membership, param.lookupKey) === lookup),
        );
        this.collect(broken, stream, { disjuncts: fed }, valuesOf);
      }
    }
    return new Set(broken.keys());
  }

  /** Whether other claims lead to the same lookups and buckets, whatever the membership. */
  isSameAs(other: Grants, streams: readonly ServedStream[]): boolean {
    return streams.every(
      (stream) => JSON.stringify(this.grantOf(stream).resolved) === JSON.stringify(other.grantOf(stream).resolved),
    );
  }

  private collect(
    into: Map<BucketId, StreamNo>,
    { stream }: ServedStream,
    resolved: Resolved,
    valuesOf: (membership: number, key: string) => readonly string[],
  ): void {
    const max = LIMITS.bucketsMax;
    for (const { disjunct, key } of bucketKeysFrom(resolved, valuesOf, max)) {
      into.set(bucketIdOf(stream, disjunct, key), stream);
      if (into.size > max) throw new AppError('TOO_MANY_BUCKETS', { details: { max } });
    }
  }

  private grantOf(stream: ServedStream): StreamGrant {
    const known = this.grantByStream.get(stream.stream);
    if (known) return known;
    const resolved = resolveClaims(stream.plan, this.claims);
    const refById = new Map<LookupId, LookupRef>();
    const idByKey = new Map<string, LookupId>();
    for (const { params } of resolved.disjuncts)
      for (const param of params) {
        if (param.kind !== 'lookup') continue;
        const lookup = lookupIdOf(stream.stream, param.membership, param.lookupKey);
        idByKey.set(`${param.membership}:${param.lookupKey}`, lookup);
        refById.set(lookup, { stream: stream.stream, membership: param.membership, lookup });
      }
    const grant: StreamGrant = {
      resolved,
      lookups: [...refById.values()],
      lookupIdOf: (membership, key) =>
        idByKey.get(`${membership}:${key}`) ?? lookupIdOf(stream.stream, membership, key),
    };
    this.grantByStream.set(stream.stream, grant);
    return grant;
  }
}
