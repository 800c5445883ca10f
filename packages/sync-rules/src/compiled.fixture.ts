import { expect } from 'vitest';
import { catalog } from './catalog.fixture.ts';
import { oneStream } from './marked-rules.fixture.ts';
import { parseAndCompile } from './parse-and-compile.ts';
import type {
  BucketPlan,
  Catalog,
  ClaimFilter,
  ClaimRef,
  CompiledRules,
  MembershipPlan,
  RowFilter,
  StreamPlan,
} from './plan.ts';

/** Compiles rules that must be accepted. */
export async function compiled(yaml: string, source: Catalog = catalog): Promise<CompiledRules> {
  const result = await parseAndCompile(yaml, source);
  if (result.kind === 'invalid') expect.fail(result.diagnostics.map(({ message }) => message).join('\n'));
  return result.rules;
}

/** The plan of a file of one stream. */
export async function compiledStream(query: string, source: Catalog = catalog): Promise<StreamPlan> {
  const [stream] = (await compiled(oneStream(query), source)).streams;
  return stream ?? expect.fail('no stream');
}

/** A plan's conditions in words, one line a disjunct, then one a membership. */
export function printed({ buckets, memberships }: StreamPlan): readonly string[] {
  return [...buckets.map(printedBucket), ...memberships.map(printedMembership)];
}

function printedBucket({ filters, claimFilters, params }: BucketPlan): string {
  const from = params.map(
    ({ column, type, from }) =>
      `${column.name}:${type} = ${from.kind === 'claim' ? printedClaim(from.claim) : `member ${from.membership}`}`,
  );
  return [...filters.map(printedFilter), ...claimFilters.map(printedClaimFilter), ...from].join(' and ');
}

function printedMembership({ table, key, filters, lookup, output, claimFilters }: MembershipPlan): string {
  const conditions = [
    ...filters.map(printedFilter),
    ...claimFilters.map(printedClaimFilter),
    ...lookup.map(({ column, type, claim }) => `${column.name}:${type} = ${printedClaim(claim)}`),
  ];
  const keys = key.map(({ name }) => name).join(',');
  return `${output.column.name}:${output.type} of ${table.schema}.${table.name}(${keys}) where ${conditions.join(' and ')}`;
}

function printedFilter(filter: RowFilter): string {
  const { name } = filter.column;
  switch (filter.kind) {
    case 'equals':
      return `${name} = ${filter.text}`;
    case 'not-equals':
      return `${name} <> ${filter.text}`;
    case 'one-of':
      return `${name} in ${filter.texts.join('|')}`;
    default:
      return `${name} ${filter.kind}`;
  }
}

function printedClaimFilter(filter: ClaimFilter): string {
  const name = printedClaim(filter.claim);
  if (filter.kind === 'claim-one-of')
    return `${name} in ${filter.values.map((value) => JSON.stringify(value)).join('|')}`;
  return `${name} ${filter.kind === 'claim-equals' ? '=' : '<>'} ${JSON.stringify(filter.value)}`;
}

function printedClaim({ path }: ClaimRef): string {
  return `@${path.join('.')}`;
}
