import type { Edit } from './planted-text.ts';

/** What runs against a bug; scenarios.ts says what each is. */
export type ScenarioName =
  | 'history'
  | 'history in small frames'
  | 'sharded history'
  | 'compacted history'
  | 'history over unruly queues'
  | 'truncate and compact'
  | 'broken grants'
  | 'copy under load'
  | 'full disk'
  | 'damaged store'
  | 'stale frames';

export interface PlantedBug {
  readonly name: string;
  readonly law: string;
  readonly scenario: ScenarioName;
  /** One, or where the law is kept twice, one for each keeper. */
  readonly edits: readonly Edit[];
  /** Often takes more than one history, for which the short lane has no time. */
  readonly isRare?: true;
}

export function edit(file: string, find: string, put: string): Edit {
  return { file, find, put };
}
