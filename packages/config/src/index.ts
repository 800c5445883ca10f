export { configTable } from './config-table.ts';
export {
  type ConfigDefinition,
  ConfigError,
  type ConfigOf,
  type ConfigProblem,
  defineConfig,
  type Settings,
} from './define-config.ts';
export type { Setting } from './parse-value.ts';
export { Secret } from './secret.ts';
