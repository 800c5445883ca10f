/** What a check says of the product, as against whatever else may go wrong in a test. */
export class Finding extends Error {
  override readonly name = 'Finding';
}

/** The finding among an error and its causes, if there is one. */
export function findingIn(error: unknown): Finding | undefined {
  for (let at = error; at instanceof Error; at = at.cause) if (at instanceof Finding) return at;
  return undefined;
}
