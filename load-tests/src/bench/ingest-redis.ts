import { DEFAULT_IDENTITY_SQL, type LoadName, loadsAt } from '../ingest/loads.ts';
import { type Drain, Site, type Turn } from '../ingest/site.ts';
import { calibrate } from '../measure/calibration.ts';
import { formatResult } from '../measure/result.ts';
import { median } from '../measure/statistics.ts';
import { BENCH_TABLES_SQL } from '../source/bench-tables.ts';

/**
 * Ingest as `ingest`, through Redis: replicator and bucket workers as processes of their own, with one shard and one worker,
 * and with four shards and two workers. All drain the same WAL in the same round as the data plane in one process and the
 * reader that only counts bytes, and stand still meanwhile.
 *
 * SLUICE_BENCH_SCALE shrinks the loads and SLUICE_BENCH_ROUNDS the rounds for a try; figures are only comparable without.
 */
const ROUNDS = Number(process.env.SLUICE_BENCH_ROUNDS ?? 5);
const LOADS = loadsAt(Number(process.env.SLUICE_BENCH_SCALE ?? 1));
const IDENTITIES = [
  { suffix: '', tablesSql: BENCH_TABLES_SQL, loads: ['bulk', 'mix', 'small'] },
  { suffix: 'Default', tablesSql: DEFAULT_IDENTITY_SQL, loads: ['bulk', 'mix'] },
] as const;
const UNITS: Record<LoadName, string> = { bulk: 'RowsPerS', mix: 'RowsPerS', small: 'TxPerS' };

type Round = Record<Turn, Drain>;
/** By load, with the identity's suffix. */
const roundsByLoad = new Map<string, Round[]>();

const calibration = calibrate();
for (const { suffix, tablesSql, loads } of IDENTITIES) {
  await using site = await Site.start(tablesSql);
  for (let round = 0; round < ROUNDS; round++)
    for (const load of loads) {
      const drains = await site.round(round, LOADS[load]);
      const name = `${load}${suffix}`;
      roundsByLoad.set(name, [...(roundsByLoad.get(name) ?? []), drains]);
      console.error(`round ${round + 1} of ${ROUNDS}, ${name}: ${formatRound(drains)}`);
    }
}

function formatRound(drains: Round): string {
  return Object.entries(drains)
    .map(([turn, { durationMs, cpuMs }]) => `${turn} ${durationMs.toFixed(0)} ms (cpu ${cpuMs.toFixed(0)} ms)`)
    .join(', ');
}

const figures: Record<string, number> = {};
const baseline: Record<string, number> = {};
const ratio: Record<string, number> = {};
for (const { suffix, loads } of IDENTITIES) for (const load of loads) report(load, suffix);
console.log(formatResult({ bench: 'ingest-redis', figures, baseline, ratio }, calibration));

function report(load: LoadName, suffix: string): void {
  const name = `${load}${suffix}`;
  const rounds = roundsByLoad.get(name) ?? [];
  const { changes } = LOADS[load];
  const rate = (turn: Turn): number => (changes * 1000) / median(rounds.map((round) => round[turn].durationMs));
  const cpuMicros = (turn: Turn): number => (median(rounds.map((round) => round[turn].cpuMs)) * 1000) / changes;
  const ratioOf = (turn: Turn, to: Turn): number =>
    median(rounds.map((round) => round[to].durationMs / round[turn].durationMs));
  const unit = UNITS[load];
  figures[`${name}${unit}`] = rate('redis');
  figures[`${name}4Shards${unit}`] = rate('redis4');
  figures[`${name}CpuMicros`] = cpuMicros('redis');
  figures[`${name}4ShardsCpuMicros`] = cpuMicros('redis4');
  baseline[`${name}${unit}`] = rate('bare');
  baseline[`${name}InProcess${unit}`] = rate('inProcess');
  baseline[`${name}InProcessCpuMicros`] = cpuMicros('inProcess');
  ratio[`${name}ToBareReader`] = ratioOf('redis', 'bare');
  ratio[`${name}4ShardsToBareReader`] = ratioOf('redis4', 'bare');
  ratio[`${name}ToInProcess`] = ratioOf('redis', 'inProcess');
  ratio[`${name}4ShardsToInProcess`] = ratioOf('redis4', 'inProcess');
}
