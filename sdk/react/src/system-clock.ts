/** Calls `fn` once after `delayMs`, unless the returned function is called before. */
export type SetTimer = (delayMs: number, fn: () => void) => () => void;

export const setSystemTimer: SetTimer = (delayMs, fn) => {
  const timer = setTimeout(fn, delayMs);
  return () => clearTimeout(timer);
};
