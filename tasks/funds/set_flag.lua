-- Purpose: raise or lower a flag of the whole pot or of some symbols, all at once. Idempotent.
-- KEYS  1.. hashes that carry the flag (the pot, or funds of symbols)
-- ARGV  1 flag: paused (no new buys); on the pot only: stopped (by an operator: no new orders, resting ones are
--         cancelled)
--       2 value 0 or 1
-- Returns how many of them changed.
local changed = 0
for _, key in ipairs(KEYS) do
  if (redis.call('HGET', key, ARGV[1]) or '0') ~= ARGV[2] then
    redis.call('HSET', key, ARGV[1], ARGV[2])
    changed = changed + 1
  end
end
return changed
