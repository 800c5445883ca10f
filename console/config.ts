import 'server-only';

export interface ConsoleConfig {
  readonly controlPlaneUrl: string;
  /** Never leaves the server: pages are rendered here and the browser talks to no API. */
  readonly token: string;
}

/** The only reader of the environment; undefined when the token is missing. */
export function readConfig(): ConsoleConfig | undefined {
  const token = process.env.CONTROL_PLANE_TOKEN;
  if (!token) return undefined;
  return { controlPlaneUrl: process.env.CONTROL_PLANE_URL || 'http://127.0.0.1:4820', token };
}
