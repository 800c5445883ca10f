/**
 * Runs histories of one scenario until one finds something: `history-process.js <scenario> <first seed> <histories>`. Tells
 * what happens in lines of JSON, and ends with 1 when there was a finding, with 0 when there was none, with 2 when something
 * else than the product failed.
 */
import { randomFrom } from '@sluice/testkit';
import { findingIn } from '../oracle/finding.ts';
import { plantedConfig } from './config.ts';
import type { HistoryReport } from './history-report.ts';
import { plantedFiles } from './planted-text.ts';
import { beginScenario } from './scenarios.ts';
import { bugNamed } from './the-bugs.ts';

const FOUND = 1;
const BROKEN = 2;

const [scenario = '', firstSeed = '', histories = ''] = process.argv.slice(2);
// What was still under way when a history ended goes down with it.
process.on('unhandledRejection', (error) => report({ kind: 'aside', text: textOf(error) }));
await run().catch((error: unknown) => end(BROKEN, { kind: 'broken', text: textOf(error) }));
end(0);

async function run(): Promise<void> {
  const { storeUrl, bug } = plantedConfig();
  if (!storeUrl) throw new Error('SLUICE_PLANTED_STORE_URL is not set');
  await using running = await beginScenario(scenario, { storeUrl });
  for (let number = 0; number < Number(histories); number++) {
    const seed = (Number(firstSeed) + number) >>> 0;
    const startedMs = performance.now();
    const text = await findingOf(() => running.run(randomFrom(seed), `history-${number + 1}`));
    report({ kind: 'history', seed, ms: Math.round(performance.now() - startedMs) });
    if (text === undefined) continue;
    const isPlanted = bug !== undefined && expectPlanted(bug);
    // The servers are the parent's, which ends them: nothing here has to end in order.
    end(FOUND, { kind: 'found', seed, text, isPlanted });
  }
}

/** @throws what is no finding */
async function findingOf(history: () => Promise<void>): Promise<string | undefined> {
  try {
    await history();
    return undefined;
  } catch (error) {
    const finding = findingIn(error);
    if (!finding) throw error;
    return finding.message;
  }
}

/** @throws Error when the bug was not loaded, so that whatever was found is not its doing */
function expectPlanted(bug: string): true {
  const loaded = plantedFiles();
  const missing = bugNamed(bug).edits.filter(({ file }) => !loaded.has(file));
  if (missing.length > 0) throw new Error(`${missing.map(({ file }) => file).join(', ')} was not loaded`);
  return true;
}

function report(line: HistoryReport): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
function end(code: number, line?: HistoryReport): never {
  if (line) report(line);
  process.exit(code);
}
function textOf(error: unknown): string {
  return error instanceof Error ? `${error.stack ?? error.message}` : String(error);
}
