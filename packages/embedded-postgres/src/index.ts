export { PostgresStartError } from './errors.ts';
export { freePort } from './free-port.ts';
export {
  type PostgresOptions,
  type PostgresServer,
  removeCluster,
  type StartStage,
  startPostgres,
  stopAbandoned,
} from './start-postgres.ts';
