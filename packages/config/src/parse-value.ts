/** One setting, as a service's `config.ts` declares it. */
export interface Setting {
  readonly type: 'string' | 'integer' | 'number' | 'boolean' | 'url' | 'choice' | 'list';
  /** One line for the person who sets it. */
  readonly meaning: string;
  /** Taken when the variable is not set; a setting with neither default nor `optional` is required. */
  readonly default?: string | number | boolean | readonly string[];
  readonly optional?: boolean;
  /** What the number counts: `ms`, `bytes`, `rows` and so on. */
  readonly unit?: string;
  /** For numbers, both included. */
  readonly min?: number;
  readonly max?: number;
  /** For `choice`. */
  readonly choices?: readonly string[];
  /** For `url`: the schemes that are taken, without the colon. */
  readonly schemes?: readonly string[];
  /** The value is given out as a `Secret` and never printed. Only for `string` and `url`. */
  readonly secret?: boolean;
}

export type ParsedValue =
  | { readonly kind: 'value'; readonly value: string | number | boolean | readonly string[] }
  | { readonly kind: 'problem'; readonly problem: string };

/** Reads the text of one variable; a problem's text never holds the value of a secret. */
export function parseValue(setting: Setting, text: string): ParsedValue {
  switch (setting.type) {
    case 'string':
      return { kind: 'value', value: text };
    case 'integer':
    case 'number':
      return parseNumber(setting, text);
    case 'boolean':
      return parseBoolean(text);
    case 'url':
      return parseUrl(setting, text);
    case 'choice':
      if (setting.choices?.includes(text)) return { kind: 'value', value: text };
      return problem(`must be one of ${setting.choices?.join(', ')}, not ${JSON.stringify(text)}`);
    case 'list':
      return { kind: 'value', value: text.split(',').flatMap((item) => item.trim() || []) };
  }
}

function parseNumber(setting: Setting, text: string): ParsedValue {
  const pattern = setting.type === 'integer' ? /^-?[0-9]{1,15}$/ : /^-?[0-9]{1,15}(\.[0-9]{1,15})?$/;
  const unit = setting.unit ? ` (${setting.unit})` : '';
  if (!pattern.test(text)) {
    const kind = setting.type === 'integer' ? 'a whole number' : 'a number';
    return problem(`must be ${kind}${unit}, not ${JSON.stringify(text)}`);
  }
  const value = Number(text);
  if (setting.min !== undefined && value < setting.min)
    return problem(`must be at least ${setting.min}${unit}, not ${text}`);
  if (setting.max !== undefined && value > setting.max)
    return problem(`must be at most ${setting.max}${unit}, not ${text}`);
  return { kind: 'value', value };
}

function parseBoolean(text: string): ParsedValue {
  if (text === 'true' || text === '1') return { kind: 'value', value: true };
  if (text === 'false' || text === '0') return { kind: 'value', value: false };
  return problem(`must be true or false, not ${JSON.stringify(text)}`);
}

function parseUrl(setting: Setting, text: string): ParsedValue {
  const shown = setting.secret ? '' : `, not ${JSON.stringify(text)}`;
  if (!URL.canParse(text)) return problem(`must be a URL${shown}`);
  const scheme = new URL(text).protocol.slice(0, -1);
  if (setting.schemes && !setting.schemes.includes(scheme)) {
    return problem(`must begin with ${setting.schemes.map((name) => `${name}://`).join(' or ')}${shown}`);
  }
  return { kind: 'value', value: text };
}

function problem(text: string): ParsedValue {
  return { kind: 'problem', problem: text };
}
