export { SluiceDialect, type SluiceDialectConfig } from './sluice-dialect.ts';
export { type Statement, statementOf } from './statement-of.ts';
