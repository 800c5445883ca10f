export {
  createGateway,
  type Gateway,
  type GatewayOptions,
  type GatewayStats,
} from './app.ts';
export type { ClientAuth, ProjectDirectory, ServedProject } from './authenticate/client-auth.ts';
export { controlDirectory } from './authenticate/control-directory.ts';
export {
  defaultGatewayConfig,
  defaultSessionLimits,
  type GatewayConfig,
} from './config.ts';
