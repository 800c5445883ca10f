import type { Span } from './diagnostics.ts';

/** A stream's query as it was written: the accepted grammar, before anything is looked up in the catalog. */
export interface Query {
  readonly select: readonly SelectItem[];
  readonly from: FromTable;
  readonly where: Condition | undefined;
}

export type SelectItem =
  | { readonly kind: 'star'; readonly qualifier: readonly string[]; readonly span: Span }
  | {
      readonly kind: 'column';
      readonly column: ColumnName;
      readonly alias: string | undefined;
      readonly span: Span;
    };

export interface FromTable {
  readonly schema: string | undefined;
  readonly name: string;
  readonly alias: string | undefined;
  readonly span: Span;
}

export interface ColumnName {
  readonly qualifier: readonly string[];
  readonly name: string;
  readonly span: Span;
}

export type Comparison = '=' | '<>';

export type Condition =
  | { readonly kind: 'and' | 'or'; readonly args: readonly Condition[] }
  | { readonly kind: 'not'; readonly arg: Condition }
  | { readonly kind: 'constant'; readonly value: boolean; readonly span: Span }
  | { readonly kind: 'bool-column'; readonly column: ColumnName }
  | { readonly kind: 'is-null'; readonly column: ColumnName; readonly negated: boolean }
  | {
      readonly kind: 'compare';
      readonly operator: Comparison;
      readonly left: Operand;
      readonly right: Operand;
      readonly span: Span;
    }
  | {
      readonly kind: 'in-list';
      readonly negated: boolean;
      readonly left: Operand;
      readonly items: readonly Operand[];
      readonly span: Span;
    }
  | {
      readonly kind: 'in-query';
      readonly left: Operand;
      readonly query: Query;
      readonly span: Span;
      readonly querySpan: Span;
    };

export type ConstantValue =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'int'; readonly value: bigint }
  | { readonly kind: 'bool'; readonly value: boolean }
  | { readonly kind: 'null' };

/** The types that an operand may be cast to. */
export type CastType = 'text' | 'int2' | 'int4' | 'int8' | 'uuid' | 'bool';

export type Operand =
  | { readonly kind: 'column'; readonly column: ColumnName; readonly cast: CastType | undefined; readonly span: Span }
  | {
      readonly kind: 'claim';
      readonly path: readonly string[];
      readonly cast: CastType | undefined;
      readonly span: Span;
    }
  | {
      readonly kind: 'value';
      readonly value: ConstantValue;
      readonly cast: CastType | undefined;
      readonly span: Span;
    };
