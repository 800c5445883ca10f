export { compileDeployed } from './compile-deployed.ts';
export {
  connectDirectory,
  connectListing,
  type DirectoryConnection,
  type ListingConnection,
} from './connect-directory.ts';
export { jsonFromPlan, planOf } from './plan-of.ts';
export {
  type ClientAuth,
  createProjectDirectory,
  type ProjectDirectory,
  type ProjectListing,
  type SourceConnection,
} from './project-directory.ts';
export { reportSources } from './report-sources.ts';
export { sourceOf } from './source-of.ts';
