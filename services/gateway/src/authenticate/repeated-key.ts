/**
 * Whether an object in a valid JSON text has a key twice, at any depth. `JSON.parse` takes the last of them, other
 * parsers the first, so that two services could read two different tokens. Keys are compared as they are after
 * unescaping.
 */
export function hasRepeatedKey(json: string): boolean {
  const openObjects: (Set<string> | undefined)[] = [];
  let at = 0;
  while (at < json.length) {
    const character = json[at];
    if (character === '{') openObjects.push(new Set());
    else if (character === '[') openObjects.push(undefined);
    else if (character === '}' || character === ']') openObjects.pop();
    else if (character === '"') {
      const end = stringEnd(json, at);
      const keys = openObjects.at(-1);
      if (keys && isFollowedByColon(json, end)) {
        const key: unknown = JSON.parse(json.slice(at, end));
        if (keys.has(String(key))) return true;
        keys.add(String(key));
      }
      at = end;
      continue;
    }
    at++;
  }
  return false;
}

/** Index after the closing quote of the string that begins at `start`. */
function stringEnd(json: string, start: number): number {
  let at = start + 1;
  while (json[at] !== '"') at += json[at] === '\\' ? 2 : 1;
  return at + 1;
}

function isFollowedByColon(json: string, from: number): boolean {
  let at = from;
  while (/\s/.test(json[at] ?? '')) at++;
  return json[at] === ':';
}
