import type { ConfigDefinition } from './define-config.ts';
import type { Setting } from './parse-value.ts';

/** The settings of one service as a Markdown table, in the order of their definition. */
export function configTable(definition: ConfigDefinition): string {
  const rows = Object.entries(definition.settings).map(
    ([key, setting]) => `| \`${key}\` | ${typeOf(setting)} | ${defaultOf(setting)} | ${cell(setting.meaning)} |`,
  );
  return ['| variable | type | default | meaning |', '|---|---|---|---|', ...rows].join('\n');
}

function typeOf(setting: Setting): string {
  const base = setting.choices ? setting.choices.map((choice) => `\`${choice}\``).join(', ') : setting.type;
  const { min, max } = setting;
  const range = min === undefined && max === undefined ? '' : `, ${min ?? '…'} to ${max ?? '…'}`;
  return [base, setting.unit ? `, ${setting.unit}` : '', range, setting.secret ? ', secret' : ''].join('');
}

function defaultOf(setting: Setting): string {
  if (setting.default === undefined) return setting.optional ? 'none' : '**required**';
  const text = Array.isArray(setting.default) ? setting.default.join(',') : String(setting.default);
  if (text === '') return 'empty';
  return setting.secret ? '`***`' : `\`${cell(text)}\``;
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ');
}
