export { drizzle } from './drizzle.ts';
export { type Statement, statementOf } from './statement-of.ts';
