import { AppError } from '@sluice/errors';
import { type Catalog, type CompiledRules, parseAndCompile } from '@sluice/sync-rules';

/** The rules in force against the catalog as it is now. @throws AppError SCHEMA_CHANGED when they no longer fit (L17) */
export async function compileDeployed(yaml: string | undefined, catalog: Catalog): Promise<CompiledRules | undefined> {
  if (yaml === undefined) return undefined;
  const result = await parseAndCompile(yaml, catalog);
  if (result.kind === 'ok') return result.rules;
  const [first] = result.diagnostics;
  throw new AppError('SCHEMA_CHANGED', {
    internal: 'the deployed rules no longer compile',
    details: { problem: first ? `${first.code} at line ${first.line}: ${first.message}` : '' },
  });
}
