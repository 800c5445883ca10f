import { parseValue, type Setting } from './parse-value.ts';
import { Secret } from './secret.ts';

export type Settings = Readonly<Record<string, Setting>>;

type BaseValue<S extends Setting> = S['type'] extends 'integer' | 'number'
  ? number
  : S['type'] extends 'boolean'
    ? boolean
    : S['type'] extends 'list'
      ? readonly string[]
      : S extends { readonly choices: readonly (infer Choice)[] }
        ? Choice
        : string;
type GivenValue<S extends Setting> = S extends { readonly secret: true } ? Secret : BaseValue<S>;

/** What a definition's `read` gives; `type GatewayConfig = ConfigOf<typeof configDefinition>`. */
export type ConfigOf<D extends ConfigDefinition> = ReturnType<D['read']>;

/** By key: numbers as numbers, secrets as `Secret`, an optional setting possibly undefined. */
export type ValuesOf<T extends Settings> = {
  readonly [Key in keyof T]: T[Key] extends { readonly optional: true }
    ? GivenValue<T[Key]> | undefined
    : GivenValue<T[Key]>;
};

export interface ConfigDefinition<T extends Settings = Settings> {
  readonly settings: T;
  /** Reads an environment; unknown variables are left alone. Throws `ConfigError` with every problem at once. */
  read(env: Readonly<Record<string, string | undefined>>): ValuesOf<T>;
}

export interface ConfigProblem {
  readonly key: string;
  readonly problem: string;
}

/** The environment does not fit; the message lists every problem, one a line, with what each variable means. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly problems: readonly ConfigProblem[];

  constructor(problems: readonly ConfigProblem[]) {
    super(`configuration:\n${problems.map(({ key, problem }) => `  ${key} ${problem}`).join('\n')}`);
    this.problems = problems;
  }
}

/**
 * Declares a service's settings, once: the reader, its types and the reference page all come from this. A definition
 * that contradicts itself (a default out of its own range) throws here, when the service is loaded.
 */
export function defineConfig<const T extends Settings>(settings: T): ConfigDefinition<T> {
  for (const [key, setting] of Object.entries(settings)) checkDefinition(key, setting);
  return { settings, read: (env) => readSettings(settings, env) };
}

function readSettings<T extends Settings>(settings: T, env: Readonly<Record<string, string | undefined>>): ValuesOf<T> {
  const problems: ConfigProblem[] = [];
  const config: Record<string, unknown> = {};
  for (const [key, setting] of Object.entries(settings)) {
    const text = env[key]?.trim();
    // An empty variable counts as not set: shells and compose files cannot easily say "unset".
    if (!text) {
      if (setting.default === undefined && !setting.optional)
        problems.push({ key, problem: `is required: ${setting.meaning}` });
      config[key] = given(setting, setting.default);
      continue;
    }
    const parsed = parseValue(setting, text);
    if (parsed.kind === 'problem') problems.push({ key, problem: `${parsed.problem}: ${setting.meaning}` });
    else config[key] = given(setting, parsed.value);
  }
  if (problems.length > 0) throw new ConfigError(problems);
  // Every key of `settings` was given the value that its own entry describes.
  return config as ValuesOf<T>;
}

function given(setting: Setting, value: Setting['default']): unknown {
  return setting.secret && value !== undefined ? new Secret(String(value)) : value;
}

function checkDefinition(key: string, setting: Setting): void {
  const wrong = (why: string): never => {
    throw new Error(`config definition of ${key}: ${why}`);
  };
  if (!/^[A-Z][A-Z0-9_]*$/.test(key)) wrong('the key must be in UPPER_CASE');
  if (setting.type === 'choice' && !setting.choices?.length) wrong('a choice needs choices');
  if (setting.secret && setting.type !== 'string' && setting.type !== 'url') wrong('only strings and URLs are secret');
  if (setting.default === undefined) return;
  if (setting.optional) wrong('a default makes it never missing, so it is not optional');
  const text = Array.isArray(setting.default) ? setting.default.join(',') : String(setting.default);
  const parsed = text === '' ? undefined : parseValue(setting, text);
  if (parsed?.kind === 'problem') wrong(`the default ${parsed.problem}`);
}
