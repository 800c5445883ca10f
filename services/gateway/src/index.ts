export {
  createGateway,
  type Gateway,
  type GatewayOptions,
  type GatewayStats,
  type ProjectDirectory,
} from './app.ts';
export type { ClientAuth } from './authenticate/client-auth.ts';
export {
  defaultGatewayConfig,
  defaultSessionLimits,
  type GatewayConfig,
  gatewayConfigFrom,
  gatewaySettings,
} from './config.ts';
