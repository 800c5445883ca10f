/** The server could not be started; `message` ends with what the server itself said, where it said anything. */
export class PostgresStartError extends Error {
  override readonly name = 'PostgresStartError';
  constructor(what: string, options: { serverLog?: string; cause?: unknown } = {}) {
    const said = options.serverLog?.trim();
    super(said ? `${what}:\n${said}` : what, options.cause === undefined ? {} : { cause: options.cause });
  }
}
