/** Fixtures for the tests of what stands on the client; the published package is without them. */
export { cell, NOTES } from './fixtures.ts';
export { type ModelCell, type ModelRow, ModelSource } from './model-source.ts';
export { TestGateway } from './test-gateway.ts';
export { bucketOf, HELD, newWritesSource, recordRow, refusalRow } from './write-fixtures.ts';
