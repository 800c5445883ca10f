import type { Member } from './port.ts';

/**
 * How many of `itemCount` things the member should hold, so that all that are not leaving hold the same number or one
 * more. The odd ones stay with those that hold most, so that nothing moves that need not.
 */
export function shareOf(id: string, members: readonly Member[], itemCount: number): number {
  const staying = members.filter(({ isLeaving }) => !isLeaving);
  const ranked = staying.toSorted((a, b) => b.held.length - a.held.length || (a.id < b.id ? -1 : 1));
  const rank = ranked.findIndex((member) => member.id === id);
  if (rank < 0) return 0;
  const least = Math.floor(itemCount / ranked.length);
  return rank < itemCount % ranked.length ? least + 1 : least;
}

/**
 * The free things in the order in which this member should try for them: another order for each member, so that those who
 * look at the same moment seldom try for the same. FNV-1a over member and thing.
 */
export function inOrderOf(id: string, items: readonly string[]): string[] {
  const scored = items.map((item) => [fnv1a(`${id} ${item}`), item] as const);
  return scored.toSorted(([a, first], [b, second]) => a - b || (first < second ? -1 : 1)).map(([, item]) => item);
}

function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  // The last characters alone would barely reach the high bits, which decide the order.
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  return (hash ^ (hash >>> 13)) >>> 0;
}
