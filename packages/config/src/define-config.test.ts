import { inspect } from 'node:util';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { configTable } from './config-table.ts';
import { ConfigError, type ConfigOf, defineConfig } from './define-config.ts';
import { Secret } from './secret.ts';

const definition = defineConfig({
  PORT: { type: 'integer', default: 8080, min: 1, max: 65535, meaning: 'Where it listens' },
  STORE_URL: { type: 'url', schemes: ['postgres'], secret: true, meaning: 'The bucket store' },
  LEVEL: { type: 'choice', choices: ['debug', 'info'], default: 'info', meaning: 'Least level that is logged' },
  FLUSH: { type: 'number', default: 2.5, unit: 'ms', meaning: 'Longest wait for a fuller batch' },
  IS_OPEN: { type: 'boolean', default: false, meaning: 'Whether anybody may sign up' },
  ORIGINS: { type: 'list', default: [], meaning: 'Allowed origins' },
  REDIS_URL: { type: 'url', optional: true, meaning: 'a|b' },
});
const env = { STORE_URL: 'postgres://u:hunter2@h/db' };

describe('defineConfig', () => {
  it('gives typed values, defaults and secrets', () => {
    const config = definition.read({ ...env, PORT: ' 9000 ', IS_OPEN: 'true', ORIGINS: 'https://a, https://b,' });
    expect(config).toMatchObject({ PORT: 9000, LEVEL: 'info', FLUSH: 2.5, IS_OPEN: true, REDIS_URL: undefined });
    expect(config.ORIGINS).toEqual(['https://a', 'https://b']);
    expect(config.STORE_URL.reveal()).toBe(env.STORE_URL);
    expectTypeOf(config).toEqualTypeOf<ConfigOf<typeof definition>>();
    expectTypeOf(config.PORT).toEqualTypeOf<number>();
    expectTypeOf(config.LEVEL).toEqualTypeOf<'debug' | 'info'>();
    expectTypeOf(config.STORE_URL).toEqualTypeOf<Secret>();
    expectTypeOf(config.REDIS_URL).toEqualTypeOf<string | undefined>();
  });

  it('reports every problem at once', () => {
    const read = (): unknown => definition.read({ PORT: '70000', LEVEL: 'loud', FLUSH: '1e3', IS_OPEN: 'yes' });
    expect(read).toThrow(ConfigError);
    try {
      read();
    } catch (error) {
      const problems = error instanceof ConfigError ? error.problems : [];
      expect(problems.map(({ key }) => key)).toEqual(['PORT', 'STORE_URL', 'LEVEL', 'FLUSH', 'IS_OPEN']);
    }
  });

  it('never prints the value of a secret in a problem', () => {
    for (const STORE_URL of ['hunter2', 'http://hunter2@h/']) {
      expect(() => definition.read({ STORE_URL })).toThrow(/STORE_URL must/);
      expect(() => definition.read({ STORE_URL })).not.toThrow(/hunter2/);
    }
  });

  it('counts an empty variable as not set', () => {
    expect(definition.read({ ...env, PORT: '' }).PORT).toBe(8080);
    expect(() => definition.read({ STORE_URL: ' ' })).toThrow(/STORE_URL is required/);
  });

  it.each(['', 'x', '1.5', '0x10', '1e3', '99999999999999999999', 'NaN', '-1'])('takes no port from %j', (PORT) => {
    if (PORT === '') expect(definition.read({ ...env, PORT }).PORT).toBe(8080);
    else expect(() => definition.read({ ...env, PORT })).toThrow(/PORT must/);
  });

  it.each([
    ['a default out of range', { A: { type: 'integer', default: 0, min: 1, meaning: '' } }],
    ['a default that is no choice', { A: { type: 'choice', choices: ['x'], default: 'y', meaning: '' } }],
    ['a key in lower case', { a: { type: 'string', meaning: '' } }],
    ['an optional setting with a default', { A: { type: 'string', optional: true, default: 'x', meaning: '' } }],
    ['a secret number', { A: { type: 'integer', secret: true, meaning: '' } }],
  ] as const)('refuses %s when it is defined', (_what, settings) => {
    expect(() => defineConfig(settings)).toThrow(/config definition of/);
  });
});

describe('configTable', () => {
  it('describes every setting, without secrets and with its pipes escaped', () => {
    const table = configTable(definition);
    expect(table.split('\n')).toHaveLength(2 + Object.keys(definition.settings).length);
    expect(table).toContain('| `PORT` | integer, 1 to 65535 | `8080` | Where it listens |');
    expect(table).toContain('| `STORE_URL` | url, secret | **required** |');
    expect(table).toContain('a\\|b');
  });
});

describe('Secret', () => {
  it('prints as *** everywhere but in reveal', () => {
    const secret = new Secret('hunter2');
    const printed = [
      String(secret),
      ['key', secret].join('='),
      JSON.stringify({ secret }),
      inspect({ secret }),
      inspect([secret]),
    ];
    for (const text of printed) {
      expect(text).toContain('***');
      expect(text).not.toContain('hunter2');
    }
    expect(Object.values(secret)).toEqual([]);
    expect(secret.reveal()).toBe('hunter2');
  });
});
