/** Bounds on what a rules file may ask for (L16). `docs/sync-rules.md` lists them for tenants. */
export const LIMITS = {
  fileBytesMax: 256 * 1024,
  /** Lexical pieces of YAML; a file within its size limit can otherwise take seconds to compose. */
  yamlTokensMax: 20_000,
  yamlFlowDepthMax: 4,
  streamsMax: 200,
  queryBytesMax: 8 * 1024,
  conditionDepthMax: 64,
  nameBytesMax: 63,
  claimPathMax: 8,
  claimKeyBytesMax: 256,
  constantBytesMax: 1024,
  listItemsMax: 256,
  /** Disjuncts of a stream's WHERE in disjunctive normal form: its bucket families. */
  disjunctsMax: 32,
  atomsPerDisjunctMax: 32,
  membershipsPerDisjunctMax: 4,
  membershipsPerStreamMax: 16,
  diagnosticsMax: 100,
  /** Buckets that one session may resolve to. */
  bucketsPerSessionMax: 1000,
} as const;
