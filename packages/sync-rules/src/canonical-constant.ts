import { type ParamType, PG_TYPE, paramTypeOf } from '@sluice/pg-values';
import type { Problem } from './diagnostics.ts';
import { LIMITS } from './limits.ts';
import type { CatalogColumn } from './plan.ts';
import type { CastType, ConstantValue } from './query.ts';
import { quoted } from './resolve-names.ts';

export type Checked<T> =
  | { readonly kind: 'ok'; readonly value: T }
  | { readonly kind: 'problem'; readonly problem: Problem };

const ok = <T>(value: T): Checked<T> => ({ kind: 'ok', value });
const problem = (code: Problem['code'], message: string, hint: string): Checked<never> => ({
  kind: 'problem',
  problem: { code, message, hint },
});

/** The type by which a column, perhaps cast, is compared; a problem where equality is not equality of bytes. */
export function comparedTypeOf(column: CatalogColumn, cast: CastType | undefined): Checked<ParamType> {
  const type = paramTypeOf(column.baseTypeOid, column);
  if (type === undefined) return problem('RULES_COMPARISON_UNSUPPORTED', inexactMessage(column), inexactHint(column));
  if (cast === undefined) return ok(type);
  // Every printed form but that of booleans ('t', yet true::text is 'true') is the type's cast to text.
  if (cast === 'text' && type !== 'bool') return ok('text');
  const isSame = castFamily(cast) === type && (type !== 'int' || castHolds(cast, column));
  return isSame ? ok(type) : castProblem(column);
}

/** Checks that a cast on the other side of a comparison leaves it one of the column's own type. */
export function checkCast(column: CatalogColumn, type: ParamType, cast: CastType | undefined): Checked<ParamType> {
  if (cast === undefined) return ok(type);
  const isSame = castFamily(cast) === type && (type !== 'int' || castHolds(cast, column));
  return isSame ? ok(type) : castProblem(column);
}

function castFamily(cast: CastType): ParamType {
  return cast === 'int2' || cast === 'int4' || cast === 'int8' ? 'int' : cast;
}

/** A narrower cast fails in Postgres for large values, where ours would compare them. */
function castHolds(cast: CastType, column: CatalogColumn): boolean {
  const bits = cast === 'int2' ? 16n : cast === 'int4' ? 32n : 64n;
  const range = INT_RANGES.get(column.baseTypeOid);
  return range !== undefined && range.max < 1n << (bits - 1n);
}

function castProblem(column: CatalogColumn): Checked<never> {
  return problem(
    'RULES_COMPARISON_UNSUPPORTED',
    `This cast changes what ${quoted(column.name)} (${column.pgType}) equals.`,
    `Compare without a cast, or cast to ${column.pgType}.`,
  );
}

function inexactMessage(column: CatalogColumn): string {
  if (column.nondeterministicCollation) {
    return `${quoted(column.name)} has a nondeterministic collation: different texts are equal.`;
  }
  return `Equality of ${column.pgType} is not equality of its text, so ${quoted(column.name)} cannot be compared.`;
}

function inexactHint(column: CatalogColumn): string {
  if (column.nondeterministicCollation) return 'Compare a column with a deterministic collation.';
  return 'Compare a column of text, integer, uuid, boolean or enum type; IS NULL works for every type.';
}

const INT_RANGES: ReadonlyMap<number, { readonly min: bigint; readonly max: bigint }> = new Map([
  [PG_TYPE.int2, { min: -(2n ** 15n), max: 2n ** 15n - 1n }],
  [PG_TYPE.int4, { min: -(2n ** 31n), max: 2n ** 31n - 1n }],
  [PG_TYPE.int8, { min: -(2n ** 63n), max: 2n ** 63n - 1n }],
  [PG_TYPE.oid, { min: 0n, max: 2n ** 32n - 1n }],
]);

/** A constant as Postgres prints the equal value of the column's type, so that rows can be compared byte by byte. */
export function canonicalConstant(column: CatalogColumn, type: ParamType, value: ConstantValue): Checked<string> {
  if (value.kind === 'null') return nullProblem;
  switch (type) {
    case 'int':
      return intConstant(column, value);
    case 'bool':
      return boolConstant(column, value);
    case 'uuid':
      return uuidConstant(column, value);
    case 'text':
      return textConstant(column, value);
  }
}

export const nullProblem = problem(
  'RULES_NULL_COMPARISON',
  'Nothing is equal to NULL, or different from it.',
  'Write `column IS NULL` or `column IS NOT NULL`.',
);

function intConstant(column: CatalogColumn, value: ConstantValue): Checked<string> {
  const range = INT_RANGES.get(column.baseTypeOid);
  const written = value.kind === 'text' ? /^[ \t]*([+-]?)0*(\d{1,20})[ \t]*$/.exec(value.text) : null;
  const number =
    value.kind === 'int' ? value.value : written && BigInt(`${written[1] === '-' ? '-' : ''}${written[2]}`);
  if (number === null || number === undefined || !range) {
    return invalid(column, 'a whole number', 'Write digits, without quotes.');
  }
  if (number >= range.min && number <= range.max) return ok(number.toString());
  return invalid(column, `within the range of ${column.pgType}`, 'No row can match it; correct the number.');
}

const TRUE_WORDS = ['t', 'true', 'y', 'yes', 'on', '1'];
const FALSE_WORDS = ['f', 'false', 'n', 'no', 'off', '0'];

function boolConstant(column: CatalogColumn, value: ConstantValue): Checked<string> {
  if (value.kind === 'bool') return ok(value.value ? 't' : 'f');
  const word = value.kind === 'text' ? value.text.trim().toLowerCase() : '';
  if (TRUE_WORDS.includes(word)) return ok('t');
  if (FALSE_WORDS.includes(word)) return ok('f');
  return invalid(column, 'a boolean', 'Write TRUE or FALSE.');
}

function uuidConstant(column: CatalogColumn, value: ConstantValue): Checked<string> {
  const text = value.kind === 'text' ? value.text : '';
  if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text)) return ok(text.toLowerCase());
  return invalid(column, 'a uuid', "Write it as 'xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx'.");
}

function textConstant(column: CatalogColumn, value: ConstantValue): Checked<string> {
  if (value.kind !== 'text') return invalid(column, 'text', 'Put the value in single quotes.');
  const bytes = new TextEncoder().encode(value.text).length;
  if (bytes > LIMITS.constantBytesMax) {
    return invalid(column, `at most ${LIMITS.constantBytesMax} bytes long`, 'Compare a shorter value.');
  }
  // Postgres would cut the constant to the 63 bytes of a name, and then compare.
  if (column.baseTypeOid === PG_TYPE.name && bytes > 63) {
    return invalid(column, 'a name of at most 63 bytes', 'Compare a shorter value.');
  }
  return ok(value.text);
}

function invalid(column: CatalogColumn, what: string, hint: string): Checked<never> {
  return problem(
    'RULES_CONSTANT_INVALID',
    `A constant compared with ${quoted(column.name)} (${column.pgType}) must be ${what}.`,
    hint,
  );
}
