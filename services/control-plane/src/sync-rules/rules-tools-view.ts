import type {
  ConditionExplanation,
  MembershipPreview,
  RowExplanation,
  StreamExplanation,
  StreamPreview,
} from '@sluice/source-steps';
import type { z } from 'zod';
import type { ExplanationDto, PreviewDto } from './rules-tools-dto.ts';

type PreviewView = z.input<typeof PreviewDto.schema>;
type ExplanationView = z.input<typeof ExplanationDto.schema>;

export function viewOfPreview(streams: readonly StreamPreview[]): PreviewView {
  return {
    streams: streams.map(({ columns, rows, memberships, code, ...rest }) => ({
      ...rest,
      columns: [...columns],
      rows: rows.map((row) => [...row]),
      memberships: memberships.map(viewOfMembership),
      code: code ?? null,
    })),
  };
}

export function viewOfExplanation({ isThere, row, streams }: RowExplanation): ExplanationView {
  return { isThere, row: { ...row }, streams: streams.map(viewOfStream) };
}
function viewOfStream({ name, sees, alternatives }: StreamExplanation): ExplanationView['streams'][number] {
  return { name, sees, alternatives: alternatives.map((conditions) => conditions.map(viewOfCondition)) };
}
function viewOfCondition({ kind, text, holds, column, value, claim, membership }: ConditionExplanation) {
  return {
    kind,
    text,
    holds: holds ?? null,
    column: column ?? null,
    value: value ?? null,
    claim: claim ?? null,
    membership: membership ? viewOfMembership(membership) : null,
  };
}
function viewOfMembership({ table, column, values, isComplete }: MembershipPreview) {
  return { table, column, values: [...values], isComplete };
}
