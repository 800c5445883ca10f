import type { Catalog, CompileResult } from '@sluice/sync-rules';

/** Compiles a rules file against a source's catalog; bad input is a result, never thrown. */
export type RulesChecker = (yaml: string, catalog: Catalog) => Promise<CompileResult>;
