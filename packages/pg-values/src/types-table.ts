import type { SampleValue, TypeFamily, TypeSample } from './type-sample.ts';
import { TYPE_FAMILIES } from './type-samples.ts';

const SHOWN_CHARACTERS_MAX = 60;

/** The part of docs/types.md between its two marks, in Markdown. */
export function formatTypesTable(): string {
  const families = TYPE_FAMILIES.map((family) => `| ${family.types} | ${columnKind(family)} | ${family.form} |`);
  const edges = TYPE_FAMILIES.flatMap((family) =>
    family.samples.flatMap((sample) => sample.values.map((value) => edgeRow(family, sample, value))),
  );
  return [
    '| Postgres type | SQLite column | Value |',
    '|---|---|---|',
    ...families,
    '',
    '## Edge values',
    '',
    '| Column | Value in SQL | In SQLite |',
    '|---|---|---|',
    ...edges,
  ].join('\n');
}

function columnKind(family: TypeFamily): string {
  return family.samples.some((sample) => sample.baseTypeOid !== undefined) ? 'of the base type' : family.sqliteType;
}

function edgeRow(family: TypeFamily, sample: TypeSample, value: SampleValue): string {
  const isFloat = family.sqliteType === 'ANY' && sample.baseTypeOid === undefined;
  return `| ${code(sample.pgType)} | ${code(value.sql)} | ${code(formatCell(value, isFloat))} |`;
}

/** As SQLite would print it; text in JSON's quotes, so that spaces and control characters show. */
function formatCell({ cell }: SampleValue, isFloat: boolean): string {
  if (cell instanceof Uint8Array) return `x'${shorten(Array.from(cell, hexByte).join(''))}'`;
  if (typeof cell === 'string') return JSON.stringify(shorten(cell)).replaceAll('\ufeff', '\\ufeff');
  return isFloat && Number.isInteger(cell) && Math.abs(Number(cell)) < 1e21 ? `${cell}.0` : String(cell);
}

function hexByte(byte: number): string {
  return byte.toString(16).padStart(2, '0');
}

function shorten(text: string): string {
  const letters = Array.from(text);
  if (letters.length <= SHOWN_CHARACTERS_MAX) return text;
  return `${letters.slice(0, SHOWN_CHARACTERS_MAX / 2).join('')}... (${letters.length} characters)`;
}

function code(text: string): string {
  return `\`${text.replaceAll('|', '\\|')}\``;
}
