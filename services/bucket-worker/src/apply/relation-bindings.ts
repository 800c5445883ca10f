import { MalformedBytesError, type StreamNo } from '@sluice/domain';
import { type RelationMessage, readMessage } from '@sluice/pgoutput';
import {
  type BoundMembership,
  type BoundStream,
  bindMembership,
  bindRow,
  canTellOldRows,
  keepsRowStates,
} from '@sluice/sync-rules';
import { TrackedTable } from './row-state/tracked-table.ts';
import type { StreamState } from './stream-state.ts';

/** A stream that can no longer be evaluated: its table, or a membership's, is not the one it was compiled for. */
export interface SchemaMismatch {
  readonly stream: StreamNo;
  /** `schema.table` */
  readonly table: string;
  /** Columns that are missing or of another type; none when old rows are not told. */
  readonly columns: readonly string[];
}

/** What the streams make of the rows of one relation; each table of a stream stands in one of the lists. */
export interface RelationBinding {
  /** `schema.table` */
  readonly table: string;
  readonly rows: readonly { readonly state: StreamState; readonly bound: BoundStream }[];
  readonly members: readonly { readonly state: StreamState; readonly set: number; readonly bound: BoundMembership }[];
  /** Those of them whose old rows are told by their states (L7). */
  readonly tracked: readonly TrackedTable[];
  readonly mismatches: readonly SchemaMismatch[];
}

/** Relations of a source remembered at once; a source with more binds some of them again and again. */
const RELATIONS_MAX = 10_000;

/** Binds relations to streams, and remembers it: every frame describes its relations anew, nearly always as before. */
export class RelationBindings {
  private readonly byOid = new Map<number, { readonly bytes: Uint8Array; readonly binding: RelationBinding }>();

  /** The binding of the relation that the `R` message in `src[start, end)` describes, and its OID. */
  read(
    src: Uint8Array,
    view: DataView,
    start: number,
    end: number,
    states: readonly StreamState[],
  ): { readonly oid: number; readonly binding: RelationBinding } {
    if (end - start < 5) throw new MalformedBytesError('relation ends early');
    const oid = view.getUint32(start + 1);
    const known = this.byOid.get(oid);
    if (known && isSame(known.bytes, src, start, end)) return { oid, binding: known.binding };
    const message = readMessage(src, view, start, end);
    if (message.kind !== 'relation') throw new MalformedBytesError('not a relation');
    const binding = bindRelation(message, states);
    if (this.byOid.size >= RELATIONS_MAX) this.byOid.clear();
    this.byOid.set(oid, { bytes: src.slice(start, end), binding });
    return { oid, binding };
  }
}

function bindRelation(relation: RelationMessage, states: readonly StreamState[]): RelationBinding {
  const isOf = (table: { schema: string; name: string }): boolean =>
    table.schema === relation.schema && table.name === relation.name;
  const table = `${relation.schema}.${relation.name}`;
  const rows: RelationBinding['rows'][number][] = [];
  const members: RelationBinding['members'][number][] = [];
  const tracked: TrackedTable[] = [];
  const mismatches: SchemaMismatch[] = [];
  for (const state of states) {
    const { plan, stream } = state;
    const keepsStates = keepsRowStates(plan, relation);
    if (isOf(plan.sourceTable)) {
      const bound = bindRow(plan, relation);
      const key = plan.table.columns.slice(0, plan.table.keyColumns).map(({ source }) => source);
      if (bound.kind !== 'bound') mismatches.push({ stream, table, columns: [...bound.missing, ...bound.changed] });
      else if (!canTellOldRows(keepsStates, key, relation)) mismatches.push({ stream, table, columns: [] });
      else if (keepsStates) tracked.push(new TrackedTable(state, undefined, bound, relation));
      else rows.push({ state, bound });
    }
    plan.memberships.forEach((membership, set) => {
      if (!isOf(membership.table)) return;
      const bound = bindMembership(plan, set, relation);
      if (bound.kind !== 'bound') mismatches.push({ stream, table, columns: [...bound.missing, ...bound.changed] });
      else if (!canTellOldRows(keepsStates, membership.key, relation)) mismatches.push({ stream, table, columns: [] });
      else if (keepsStates) tracked.push(new TrackedTable(state, set, bound, relation));
      else members.push({ state, set, bound });
    });
  }
  return { table, rows, members, tracked, mismatches };
}

function isSame(known: Uint8Array, src: Uint8Array, start: number, end: number): boolean {
  if (known.length !== end - start) return false;
  for (let i = 0; i < known.length; i++) if (known[i] !== src[start + i]) return false;
  return true;
}
