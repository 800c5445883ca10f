/** The environment of whoever develops an app: this process's, without what the tests' runner sets for itself. */
export function developerEnvironment(): NodeJS.ProcessEnv {
  const { NODE_ENV: _env, VITEST: _vitest, VITEST_MODE: _mode, ...env } = process.env;
  return { ...env, NEXT_TELEMETRY_DISABLED: '1' };
}
