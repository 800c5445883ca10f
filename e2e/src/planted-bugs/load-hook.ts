import type { LoadHook } from 'node:module';
import { type Edit, notePlantedText, plantedText } from './planted-text.ts';

/** Edits of one module, by its URL. */
export type HookData = ReadonlyMap<string, readonly Edit[]>;

let editsByUrl: HookData = new Map();

export function initialize(data: HookData): void {
  editsByUrl = data;
}

/** Plants bugs in the modules that are to have them. @throws Error when a text is not where it should be */
export const load: LoadHook = async (url, context, nextLoad) => {
  const loaded = await nextLoad(url, context);
  const edits = editsByUrl.get(url);
  if (!edits) return loaded;
  if (loaded.source === null || loaded.source === undefined) throw new Error(`${url} was loaded without its source`);
  const text = typeof loaded.source === 'string' ? loaded.source : new TextDecoder().decode(loaded.source);
  const planted = edits.reduce(plantedText, text);
  return { ...loaded, source: planted + edits.map(({ file }) => notePlantedText(file)).join('') };
};
