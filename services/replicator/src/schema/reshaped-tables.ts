/** A table's storage and columns as the catalog had them at some time; see TableShape of the source. */
interface Shape {
  readonly oid: number;
  readonly storage: number;
  readonly parts?: Readonly<Record<string, number>>;
  readonly labels?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly columns: Readonly<Record<string, readonly [number: number, writtenBy: string]>>;
}
type Shapes = Readonly<Record<string, Shape>>;

/**
 * The tables, as `schema.table`, whose rows may no longer be those that were copied. A table of which nothing was written down, or
 * that is gone, is not among them: the publication and the rules say so by other means.
 * @param used columns that streams read, by table
 */
export function reshapedTables(
  copied: Shapes,
  now: Shapes,
  used: ReadonlyMap<string, ReadonlySet<string>>,
): Set<string> {
  const reshaped = new Set<string>();
  for (const [table, columns] of used) {
    const before = copied[table];
    const after = now[table];
    if (before && after && isReshaped(before, after, columns)) reshaped.add(table);
  }
  return reshaped;
}

function isReshaped(before: Shape, after: Shape, used: ReadonlySet<string>): boolean {
  if (before.oid !== after.oid || !isSameParts(before.parts ?? {}, after.parts ?? {})) return true;
  const isRewritten = before.storage !== after.storage;
  for (const name of used) {
    const old = before.columns[name];
    const fresh = after.columns[name];
    if (!old || !fresh) continue;
    if (isRenamed(before.labels?.[name] ?? {}, after.labels?.[name] ?? {})) return true;
    if (old[0] !== fresh[0] || (isRewritten && old[1] !== fresh[1])) return true;
  }
  return false;
}

/** A partition that came, went or has other storage: nothing of it is in the stream under the partitioned table's name. */
function isSameParts(before: Readonly<Record<string, number>>, after: Readonly<Record<string, number>>): boolean {
  const oids = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...oids].every((oid) => before[oid] === after[oid]);
}

/** An enum's label has another name; added ones are no matter. */
function isRenamed(before: Readonly<Record<string, string>>, after: Readonly<Record<string, string>>): boolean {
  return Object.entries(before).some(([oid, label]) => after[oid] !== undefined && after[oid] !== label);
}
