/** In [0, 1), for jitter and client ids; nothing secret depends on it. */
export const systemRandom = (): number => Math.random();
