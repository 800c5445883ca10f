import { createHash } from 'node:crypto';
import type { ProjectId } from '@sluice/domain';

/**
 * Writers in the order in which they are asked for a project. All gateways ask the same one first, so that a project's connections
 * to its source are those of one process, and few projects move when a writer comes or goes.
 * Rendezvous hashing: Thaler and Ravishankar, IEEE/ACM Transactions on Networking 6 (1), 1998.
 */
export function ranked(writers: readonly string[], project: ProjectId): readonly string[] {
  return writers
    .map((writer) => ({ writer, weight: createHash('sha1').update(`${writer} ${project}`).digest('hex') }))
    .sort((a, b) => (a.weight < b.weight ? 1 : -1))
    .map(({ writer }) => writer);
}
