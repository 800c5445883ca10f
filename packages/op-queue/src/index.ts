export * from './frame.ts';
export { decodeFrame, encodeFrame } from './frame-codec.ts';
export { createMemoryOpQueue, type MemoryOpQueueOptions } from './memory-op-queue.ts';
export { createMemoryWakeUps } from './memory-wake-ups.ts';
export * from './port.ts';
export * from './records.ts';
export { createRedisOpQueue, type RedisOpQueue, type RedisOpQueueOptions } from './redis/redis-op-queue.ts';
export { createRedisWakeUps, type RedisWakeUps, type RedisWakeUpsOptions } from './redis/redis-wake-ups.ts';
