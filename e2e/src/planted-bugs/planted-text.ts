/** A small change of the product as it is loaded: one exact text of one file, and what stands in its place. */
export interface Edit {
  /** From the repository's root: a compiled module, or a migration. */
  readonly file: string;
  readonly find: string;
  readonly put: string;
}

/** @throws Error when the text does not stand in the file exactly once: the bug must be planted anew */
export function plantedText(text: string, { file, find, put }: Edit): string {
  const found = text.split(find).length - 1;
  if (found !== 1) throw new Error(`${file} has ${found} times, and not once: ${find}`);
  return text.replace(find, () => put);
}

/** Where the files of this process are noted once they are loaded with their bug. */
const noted = globalThis as { sluicePlanted?: string[] };

export function notePlanted(file: string): void {
  noted.sluicePlanted ??= [];
  noted.sluicePlanted.push(file);
}
/** As a statement that can be added to a module. */
export function notePlantedText(file: string): string {
  return `\n;(globalThis.sluicePlanted ??= []).push(${JSON.stringify(file)});\n`;
}
export function plantedFiles(): ReadonlySet<string> {
  return new Set(noted.sluicePlanted);
}
