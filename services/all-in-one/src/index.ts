export { createDataPlane, type DataPlane, type DataPlaneOptions } from './data-plane.ts';
export { type OpenQueues, openQueues, type Queues } from './open-queues.ts';
