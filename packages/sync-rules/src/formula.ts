import type { ClaimFilter, ClaimRef, MembershipPlan, ParamType, RowFilter, SourceColumn } from './plan.ts';

/** A checked condition that is true or not for a row and a token; what is unknown in SQL is not true here. */
export type Atom =
  | { readonly kind: 'row'; readonly filter: RowFilter }
  | { readonly kind: 'token'; readonly filter: ClaimFilter }
  | { readonly kind: 'claim-param'; readonly column: SourceColumn; readonly type: ParamType; readonly claim: ClaimRef }
  | {
      readonly kind: 'membership-param';
      readonly column: SourceColumn;
      readonly type: ParamType;
      readonly membership: MembershipPlan;
    };

export type Formula =
  | { readonly kind: 'and' | 'or'; readonly args: readonly Formula[] }
  | { readonly kind: 'constant'; readonly value: boolean }
  | { readonly kind: 'atom'; readonly atom: Atom };

export const TRUE: Formula = { kind: 'constant', value: true };
export const FALSE: Formula = { kind: 'constant', value: false };

export function atomOf(atom: Atom): Formula {
  return { kind: 'atom', atom };
}

/**
 * Disjunctive normal form: the OR of ANDs of atoms. Distribution holds in SQL's three-valued logic, so the result is
 * true for exactly the same rows.
 * @returns the disjuncts, none when the formula is never true; 'too-many' past the bound, before they are built
 */
export function disjunctsOf(formula: Formula, max: number): readonly (readonly Atom[])[] | 'too-many' {
  return countOf(formula, max) > max ? 'too-many' : expand(formula);
}

function countOf(formula: Formula, max: number): number {
  switch (formula.kind) {
    case 'constant':
      return formula.value ? 1 : 0;
    case 'atom':
      return 1;
    case 'or':
      return formula.args.reduce((sum, arg) => Math.min(sum + countOf(arg, max), max + 1), 0);
    case 'and':
      return formula.args.some((arg) => countOf(arg, max) === 0)
        ? 0
        : formula.args.reduce((product, arg) => Math.min(product * countOf(arg, max), max + 1), 1);
  }
}

function expand(formula: Formula): readonly (readonly Atom[])[] {
  switch (formula.kind) {
    case 'constant':
      return formula.value ? [[]] : [];
    case 'atom':
      return [[formula.atom]];
    case 'or':
      return formula.args.flatMap(expand);
    case 'and':
      return expandAnd(formula.args);
  }
}

function expandAnd(args: readonly Formula[]): readonly (readonly Atom[])[] {
  const expanded = args.map(expand);
  // A branch that is never true first: the others may be larger than the bound, which counts the product.
  if (expanded.some((disjuncts) => disjuncts.length === 0)) return [];
  let product: readonly (readonly Atom[])[] = [[]];
  for (const disjuncts of expanded) product = product.flatMap((left) => disjuncts.map((right) => [...left, ...right]));
  return product;
}
