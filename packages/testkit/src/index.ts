export { type TestConfig, testConfig } from './config.ts';
export { type ArmedFault, type FaultPoint, type FaultPoints, faultPoints } from './fault-points.ts';
export { freshCluster } from './fresh-cluster.ts';
export { type FreshDatabase, freshDatabase } from './fresh-database.ts';
export { type ManualClock, manualClock } from './manual-clock.ts';
export { identifier, query } from './query.ts';
export { randomFrom, type SeededRandom, seededRandom } from './seeded-random.ts';
export { type Direction, type TcpProxy, type TcpProxyOptions, tcpProxy } from './tcp-proxy.ts';
export { type WaitForOptions, waitFor } from './wait-for.ts';
