import { bucketIdOf, lookupIdOf } from '@sluice/bucket-store';
import { type BucketId, ByteWriter, type LookupId, type StreamNo, tableSeed, writeCell } from '@sluice/domain';
import { assert } from '@sluice/errors';
import { PLAN_VERSION, resolveClaims, type StreamPlan } from '@sluice/sync-rules';

/** A document belongs to its owner and to the members of its team. */
export interface Doc {
  readonly owner: string;
  readonly team: string;
  readonly body: string;
}
export interface Member {
  readonly user: string;
  readonly team: string;
}
/** The tables at one commit. */
export interface Snapshot {
  readonly docs: ReadonlyMap<number, Doc>;
  readonly members: ReadonlyMap<number, Member>;
}

const column = (name: string) => ({ name, typeOid: name === 'id' ? 23 : 25, typmod: -1 });
const sub = { path: ['sub'] };

/** `SELECT id, owner, team, body FROM docs WHERE owner = auth.user_id() OR team IN (SELECT team FROM members …)`. */
export const docsPlan: StreamPlan = {
  version: PLAN_VERSION,
  name: 'docs',
  sourceTable: { schema: 'public', name: 'docs' },
  table: {
    name: 'docs',
    keyColumns: 1,
    columns: ['id', 'owner', 'team', 'body'].map((name) => ({
      name,
      sqliteType: name === 'id' ? 'INTEGER' : 'TEXT',
      pgType: name === 'id' ? 'integer' : 'text',
      source: column(name),
      baseTypeOid: name === 'id' ? 23 : 25,
    })),
  },
  buckets: [
    {
      filters: [],
      claimFilters: [],
      params: [{ column: column('owner'), type: 'text', from: { kind: 'claim', claim: sub } }],
    },
    {
      filters: [],
      claimFilters: [],
      params: [{ column: column('team'), type: 'text', from: { kind: 'membership', membership: 0 } }],
    },
  ],
  memberships: [
    {
      table: { schema: 'public', name: 'members' },
      key: [column('id')],
      filters: [],
      lookup: [{ column: column('user'), type: 'text', claim: sub }],
      output: { column: column('team'), type: 'text' },
      claimFilters: [],
    },
  ],
  contentHash: '00',
};

/** The canonical bytes of a text in a bucket or lookup key. */
export function pieceOf(text: string): string {
  const param = resolveClaims(docsPlan, { sub: text }).disjuncts[0]?.params[0];
  assert(param?.kind === 'value', 'the first disjunct has one claim parameter');
  return param.piece;
}
function lookupKeyOf(user: string): string {
  const param = resolveClaims(docsPlan, { sub: user }).disjuncts[1]?.params[0];
  assert(param?.kind === 'lookup', 'the second disjunct has one membership parameter');
  return param.lookupKey;
}

export function encodeDoc(id: number, doc: Doc): { row: Uint8Array; keyBytes: number } {
  const out = new ByteWriter(256);
  writeCell(out, id);
  const keyBytes = out.length;
  for (const value of [doc.owner, doc.team, doc.body]) writeCell(out, value);
  return { row: out.take(), keyBytes };
}
export const seed = tableSeed('docs');

export function bucketsOfDoc(stream: StreamNo, doc: Doc): BucketId[] {
  return [bucketIdOf(stream, 0, pieceOf(doc.owner)), bucketIdOf(stream, 1, pieceOf(doc.team))];
}
/** The buckets that a user may see, found from the tables alone. */
export function bucketsOfUser(stream: StreamNo, snapshot: Snapshot, user: string): Set<BucketId> {
  const teams = [...snapshot.members.values()].filter((member) => member.user === user).map((member) => member.team);
  return new Set([bucketIdOf(stream, 0, pieceOf(user)), ...teams.map((team) => bucketIdOf(stream, 1, pieceOf(team)))]);
}
export function lookupOfUser(stream: StreamNo, user: string): LookupId {
  return lookupIdOf(stream, 0, lookupKeyOf(user));
}
