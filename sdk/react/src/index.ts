export type { QueryResult } from './query-result.ts';
export { SluiceProvider, type SluiceProviderProps } from './sluice-provider.tsx';
export { useQuery } from './use-query.ts';
export { type Rejected, useRejected } from './use-rejected.ts';
export { useSluice } from './use-sluice.ts';
export { useStatus } from './use-status.ts';
export { useSuspenseQuery } from './use-suspense-query.ts';
export { useWrite, type Write } from './use-write.ts';
