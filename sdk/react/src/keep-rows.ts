import type { QueryRow } from '@sluice/client';
import { isSameCell, listKey } from './cell-key.ts';

/**
 * `next`, with the objects of `previous` for rows of the same content, so that components which were given a row and are memoised
 * do not render again; `previous` itself when nothing differs. Linear: rows at the same distance from either end are compared
 * cell by cell, those between by a key of their content.
 */
export function keepRows(previous: readonly QueryRow[], next: readonly QueryRow[]): readonly QueryRow[] {
  const shorter = Math.min(previous.length, next.length);
  const kept = [...next];
  let start = 0;
  for (; start < shorter; start++) {
    const row = sameRow(previous[start], next[start]);
    if (!row) break;
    kept[start] = row;
  }
  if (start === previous.length && start === next.length) return previous;
  let end = 0;
  for (; end < shorter - start; end++) {
    const row = sameRow(previous[previous.length - 1 - end], next[next.length - 1 - end]);
    if (!row) break;
    kept[next.length - 1 - end] = row;
  }
  const known = rowsByContent(previous.slice(start, previous.length - end));
  if (known.size > 0)
    for (let i = start; i < next.length - end; i++) {
      const row = next[i];
      // Each is given once: two equal rows stay two objects.
      const found = row && known.get(contentKey(row))?.shift();
      if (found) kept[i] = found;
    }
  return kept;
}

/** The row as it was, if the other has the same columns and cells. */
function sameRow(previous: QueryRow | undefined, next: QueryRow | undefined): QueryRow | undefined {
  if (!previous || !next) return undefined;
  const names = Object.keys(next);
  if (names.length !== Object.keys(previous).length) return undefined;
  return names.every((name) => Object.hasOwn(previous, name) && isSameCell(previous[name], next[name]))
    ? previous
    : undefined;
}

function rowsByContent(rows: readonly QueryRow[]): Map<string, QueryRow[]> {
  const byContent = new Map<string, QueryRow[]>();
  for (const row of rows) {
    const key = contentKey(row);
    const found = byContent.get(key);
    if (found) found.push(row);
    else byContent.set(key, [row]);
  }
  return byContent;
}
function contentKey(row: QueryRow): string {
  return listKey(Object.entries(row).flat());
}
