/** What a process that runs histories is told from outside; the only reader of the environment here. */
export interface PlantedConfig {
  /** SLUICE_PLANTED_BUG: a bug's name; the product is as it is without one. */
  readonly bug: string | undefined;
  /** SLUICE_PLANTED_STORE_URL: superuser of the server for bucket stores. */
  readonly storeUrl: string | undefined;
}

export function plantedConfig(env: NodeJS.ProcessEnv = process.env): PlantedConfig {
  return { bug: env.SLUICE_PLANTED_BUG || undefined, storeUrl: env.SLUICE_PLANTED_STORE_URL || undefined };
}

/** The environment of a process that `plantedConfig` reads; SLUICE_TEST_POSTGRES_URL names the server for sources. */
export function plantedEnv(
  { bug, storeUrl, sourceUrl }: PlantedConfig & { readonly sourceUrl: string },
  env: NodeJS.ProcessEnv = process.env,
): NodeJS.ProcessEnv {
  return {
    ...env,
    SLUICE_PLANTED_BUG: bug ?? '',
    SLUICE_PLANTED_STORE_URL: storeUrl ?? '',
    SLUICE_TEST_POSTGRES_URL: sourceUrl,
  };
}
