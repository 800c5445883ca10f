/**
 * The whole environment of the server and of initdb: nothing of ours, so that a PGPORT or an LC_ALL in the caller's
 * shell changes nothing. Windows programs do not start without the system's own variables, so there it is inherited.
 */
export function serverEnvironment(): NodeJS.ProcessEnv | undefined {
  return process.platform === 'win32' ? undefined : { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' };
}
