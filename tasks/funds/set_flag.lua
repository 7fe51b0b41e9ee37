-- Purpose: raise or lower a flag of the whole pot or of some symbols, all at once. Idempotent.
-- KEYS  1.. hashes that carry the flag (the pot, or funds of symbols); where scopes are given, then the outbox (stream)
-- ARGV  1 flag: paused (no new buys); on the pot only: stopped (by an operator: no new orders, resting ones are
--         cancelled)
--       2 value 0 or 1  3.. the scope of each hash, for the history (_outbox.lua): the symbol, or '' for the pot
-- Returns how many of them changed.
local scopes = #ARGV - 2
local changed = 0
for i = 1, scopes > 0 and scopes or #KEYS do
  if (redis.call('HGET', KEYS[i], ARGV[1]) or '0') ~= ARGV[2] then
    redis.call('HSET', KEYS[i], ARGV[1], ARGV[2])
    if scopes > 0 then archive(KEYS[#KEYS], 'flag', ARGV[1] .. '|' .. ARGV[2] .. '|' .. ARGV[2 + i]) end
    changed = changed + 1
  end
end
return changed
