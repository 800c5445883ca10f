import type { LeaseToken, ProjectId } from '@sluice/domain';
import type { Dependencies } from './dependencies.ts';
import type { ConditionWriter } from './progress/condition-writer.ts';

/** What whoever holds a source's lease works with. */
export interface Holding {
  readonly dependencies: Dependencies;
  readonly project: ProjectId;
  readonly token: LeaseToken;
  readonly condition: ConditionWriter;
}
