import type { Scene } from '../scene.ts';
import type { MakeFault } from './fault.ts';

/**
 * Entries that no worker has been given yet: what it was given is in its hands, whatever becomes of the stream.
 * KEYS[1]: the stream. The worker's group is named as in the op queue's keys.
 */
const NOT_GIVEN = `
local given = {}
local pending = redis.pcall('XPENDING', KEYS[1], 'workers', '-', '+', 10000)
if type(pending) == 'table' and not pending.err then for _, p in ipairs(pending) do given[p[1]] = true end end
local entries = {}
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+')) do
  if not given[entry[1]] then entries[#entries + 1] = entry end
end
`;

/** Each comes again, and a copy is put aside. KEYS[2]: where. */
const REPEAT = `
local entries = redis.call('XRANGE', KEYS[1], '-', '+')
for _, entry in ipairs(entries) do
  redis.call('XADD', KEYS[1], '*', unpack(entry[2]))
  redis.call('XADD', KEYS[2], '*', unpack(entry[2]))
end
return #entries`;

/** What was put aside comes once more, long after. */
const REPEAT_LATE = `
local entries = redis.call('XRANGE', KEYS[2], '-', '+')
for _, entry in ipairs(entries) do redis.call('XADD', KEYS[1], '*', unpack(entry[2])) end
redis.call('DEL', KEYS[2])
return #entries`;

/** ARGV[1]: how far each moves. */
const REORDER = `${NOT_GIVEN}
for _, entry in ipairs(entries) do redis.call('XDEL', KEYS[1], entry[1]) end
for i = 1, #entries do
  local entry = entries[#entries - (i - 1 + ARGV[1]) % #entries]
  redis.call('XADD', KEYS[1], '*', unpack(entry[2]))
end
return #entries`;

/** ARGV[1]: the first to go, counted from 0, modulo their number; ARGV[2]: at most how many go. */
const REMOVE = `${NOT_GIVEN}
if #entries == 0 then return 0 end
local first = ARGV[1] % #entries
local gone = 0
for i = first, math.min(#entries, first + ARGV[2]) - 1 do
  gone = gone + redis.call('XDEL', KEYS[1], entries[i + 1][1])
end
return gone`;

/** Runs the script on the frames of each shard; resolves to the sum of what it returned. */
async function onFrames(scene: Scene, script: string, ...args: readonly number[]): Promise<number> {
  let sum = 0;
  for (const shard of scene.shardNumbers()) {
    const key = scene.framesKey(shard);
    sum += Number(await scene.platform.redis.command('EVAL', script, 2, key, `${key}:aside`, ...args));
  }
  return sum;
}

/** Frames come twice: right after each other, and again when they were applied long ago. */
export const framesRepeated: MakeFault = (scene) => {
  let repeated = 0;
  let repeatedLate = 0;
  return {
    async begin() {
      await scene.whileHeld(async () => {
        repeated = await onFrames(scene, REPEAT);
      });
    },
    async end() {
      repeatedLate = await onFrames(scene, REPEAT_LATE);
    },
    effect: async () =>
      repeated > 0 && repeatedLate > 0 ? `${repeated} frames came again, and once more later` : undefined,
  };
};

/** Of one shard: the first may be in the worker's hands, and fewer than two others have no order. */
const FRAMES_TO_REORDER = 3;

/** Frames come in another order. */
export const framesReordered: MakeFault = (scene) => {
  let moved = 0;
  return {
    async begin() {
      await scene.whileHeld(async () => {
        moved = await onFrames(scene, REORDER, scene.random.int(0, 3));
      }, FRAMES_TO_REORDER * scene.shards);
    },
    end: async () => {},
    effect: async () => (moved > scene.shards ? `${moved} frames came in another order` : undefined),
  };
};

/** Frames are missing. */
export const framesMissing: MakeFault = (scene) => {
  const { random } = scene;
  let gone = 0;
  return {
    async begin() {
      await scene.whileHeld(async () => {
        gone = await onFrames(scene, REMOVE, random.int(0, 5), random.int(1, 3));
      });
    },
    end: async () => {},
    effect: async () => (gone > 0 ? `${gone} frames were missing` : undefined),
  };
};
