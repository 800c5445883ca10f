import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { plantedEnv } from './config.ts';
import type { HistoryReport } from './history-report.ts';
import type { ScenarioName } from './planted-bug.ts';

const BUILD = new URL('../../dist/planted-bugs/', import.meta.url);

export interface PlantedRun {
  /** A bug's name; the product as it is without one. */
  readonly bug: string | undefined;
  readonly scenario: ScenarioName;
  readonly firstSeed: number;
  readonly histories: number;
  /** Of the store's server and of the one for sources; the run leaves its databases there. */
  readonly storeUrl: string;
  readonly sourceUrl: string;
}
export type PlantedOutcome =
  | { readonly kind: 'caught'; readonly by: string; readonly seed: number; readonly histories: number }
  | { readonly kind: 'not caught'; readonly histories: number };

/** Histories end by themselves; one that does not is a failure of the test. */
const RUN_MS_MAX = 10 * 60_000;

/**
 * Runs histories in a process of its own, from e2e's build, until one finds something.
 * @throws Error when something else failed, or the bug was not loaded
 */
export async function runPlanted(run: PlantedRun): Promise<PlantedOutcome> {
  const pathOf = (name: string): string => fileURLToPath(new URL(name, BUILD));
  const args = [run.scenario, String(run.firstSeed), String(run.histories)];
  const child = spawn(
    process.execPath,
    ['--import', new URL('plant.js', BUILD).href, pathOf('history-process.js'), ...args],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: plantedEnv(run),
      timeout: RUN_MS_MAX,
      killSignal: 'SIGKILL',
    },
  );
  const output: Buffer[] = [];
  const errors: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => output.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => errors.push(chunk));
  await once(child, 'close');
  const reports = reportsIn(Buffer.concat(output).toString());
  const histories = reports.filter(({ kind }) => kind === 'history').length;
  const found = reports.find((report) => report.kind === 'found');
  if (found && child.exitCode === 1 && found.isPlanted === (run.bug !== undefined))
    return { kind: 'caught', by: found.text, seed: found.seed, histories };
  if (child.exitCode === 0 && histories === run.histories) return { kind: 'not caught', histories };
  const told = reports.map((report) => JSON.stringify(report)).join('\n');
  throw new Error(
    `${run.bug ?? run.scenario} ended with ${child.exitCode ?? child.signalCode}\n${told}\n${Buffer.concat(errors).toString()}`,
  );
}

/** Lines of others stand among them. */
function reportsIn(output: string): HistoryReport[] {
  return output
    .split('\n')
    .filter((line) => line.startsWith('{"kind":'))
    .map((line) => JSON.parse(line) as HistoryReport);
}
