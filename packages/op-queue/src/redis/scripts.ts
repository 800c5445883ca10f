import { defineScript } from '@sluice/redis-link';

/**
 * Appends as many of the frames as there is room for, in order, and answers how many and how many bytes are queued then.
 * The count of bytes stands beside the stream and moves with it in one step. It is only believed while the stream has
 * entries, so that a count that outlived its frames gives its room back.
 *
 * When memory is full, Redis refuses the first write of a script and so all of it.
 *
 * KEYS: frames, bytes. ARGV: most bytes, most entries, milliseconds until untouched keys go, then for each frame its
 * bytes of `changes` and the encoded frame.
 */
export const APPEND = defineScript(`
local length = redis.call('XLEN', KEYS[1])
local used = 0
if length > 0 then used = tonumber(redis.call('GET', KEYS[2]) or '0') end
local added = 0
for i = 4, #ARGV, 2 do
  local bytes = tonumber(ARGV[i])
  if length >= tonumber(ARGV[2]) or (used > 0 and used + bytes > tonumber(ARGV[1])) then break end
  redis.call('XADD', KEYS[1], '*', 'bytes', ARGV[i], 'frame', ARGV[i + 1])
  length = length + 1
  used = used + bytes
  added = added + 1
end
if added > 0 then
  redis.call('SET', KEYS[2], used, 'PX', ARGV[3])
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return {added, used, length}
`);

/**
 * Removes frames that are done and answers how many bytes are queued then. A frame that is no longer there, because it was
 * cleared, lost or removed before, frees nothing.
 *
 * KEYS: frames, bytes. ARGV: group, then for each frame its entry id and its bytes of `changes`.
 */
export const REMOVE = defineScript(`
local freed = 0
for i = 2, #ARGV, 2 do
  redis.call('XACK', KEYS[1], ARGV[1], ARGV[i])
  if redis.call('XDEL', KEYS[1], ARGV[i]) == 1 then freed = freed + tonumber(ARGV[i + 1]) end
end
local length = redis.call('XLEN', KEYS[1])
if length == 0 then
  redis.call('DEL', KEYS[2])
  return {0, 0}
end
local used = tonumber(redis.call('GET', KEYS[2]) or '0')
if freed > 0 then
  used = math.max(0, used - freed)
  redis.call('SET', KEYS[2], used, 'KEEPTTL')
end
return {used, length}
`);

/**
 * Forgets all frames and who had taken them. The stream itself stays, so that ids go on growing: an id of before can never
 * name a frame of after.
 *
 * KEYS: frames, bytes. ARGV: group, consumer.
 */
export const CLEAR = defineScript(`
redis.call('XTRIM', KEYS[1], 'MAXLEN', 0)
redis.call('DEL', KEYS[2])
redis.pcall('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
return 1
`);
