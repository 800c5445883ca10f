import { type LeaseToken, type ProjectId, rowHash, tableSeed } from '@sluice/domain';
import type { AuditStore } from '../audit-port.ts';
import type { LookupRef } from '../port.ts';
import { writeIssues } from './apply.ts';
import { assertUnfolded } from './floors.ts';
import type { ProjectState } from './project-state.ts';
import { readMembership, readSums } from './reads.ts';

const SEED = tableSeed('digest');
const hashOf = (text: string): bigint => rowHash(SEED, new TextEncoder().encode(text));

/** As the Postgres adapter's, all groups in one window. */
export function memoryAuditStore(
  projectOf: (project: ProjectId) => ProjectState | undefined,
  held: (project: ProjectId, token: LeaseToken) => ProjectState,
): AuditStore {
  return {
    async readDigest(project, { stream, of, through }) {
      const state = projectOf(project);
      assertUnfolded(state, stream, { through });
      const groups = of === 'buckets' ? bucketsOf(state, stream, through) : lookupsOf(state, stream, through);
      const sum = groups.reduce((total, group) => total + hashOf(group.content), 0n);
      const rows = groups.reduce((total, group) => total + group.rows, 0);
      return { groups: groups.length, rows, digest: BigInt.asUintN(64, sum), next: undefined };
    },
    async noteIssues(project, token, issues) {
      writeIssues(held(project, token), issues);
    },
  };
}

interface Group {
  readonly content: string;
  readonly rows: number;
}
type Request = Parameters<AuditStore['readDigest']>[1];
type Arguments = [ProjectState | undefined, Request['stream'], Request['through']];

function bucketsOf(...[project, stream, through]: Arguments): Group[] {
  const refs = [...(project?.streams.get(stream)?.chunksByBucket.keys() ?? [])].map((bucket) => ({ stream, bucket }));
  return [...readSums(project, refs, through).values()]
    .filter(({ checksum, rows }) => checksum !== 0n || rows !== 0)
    .map(({ checksum, rows }) => ({ content: `${checksum} ${rows}`, rows }));
}

/** Values alone, not the rows that give them: enough for tests, which is what this adapter is for. */
function lookupsOf(...[project, stream, through]: Arguments): Group[] {
  const refById = new Map<string, LookupRef>();
  for (const { membership, lookup } of project?.streams.get(stream)?.memberships ?? [])
    refById.set(`${membership} ${lookup}`, { stream, membership, lookup });
  return [...refById.values()].flatMap((ref) => {
    const values = readMembership(project, [ref], through).get(ref.lookup);
    return values ? [{ content: `${ref.membership} ${values.join('\n')}`, rows: values.length }] : [];
  });
}
