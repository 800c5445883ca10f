/** JSON with the keys of objects in code unit order: equal values give equal text. Undefined fields are left out. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const entries = Object.entries(value).filter(([, field]) => field !== undefined);
  entries.sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, field]) => `${JSON.stringify(key)}:${canonicalJson(field)}`).join(',')}}`;
}

/** Without duplicates, in an order that does not depend on how the rules were written. */
export function inOrder<T>(items: readonly T[]): readonly T[] {
  const byMeaning = new Map(items.map((item) => [canonicalJson(item), item]));
  return [...byMeaning.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, item]) => item);
}
