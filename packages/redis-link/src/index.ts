export { checkServer } from './check-server.ts';
export { defineScript, isReply, RedisLink, type RedisLinkOptions, type Script } from './redis-link.ts';
export { refusal, Troubles } from './troubles.ts';
