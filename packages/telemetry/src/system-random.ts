/** In [0, 1), for jitter and for nothing that must stay secret: the one place that asks the machine for chance. */
export const systemRandom = (): number => Math.random();
