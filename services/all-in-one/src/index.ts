export { createDataPlane, type DataPlane, type DataPlaneOptions } from './data-plane.ts';
