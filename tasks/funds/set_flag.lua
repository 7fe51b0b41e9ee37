-- Purpose: raise or lower a flag of the whole pot or of some symbols, all at once. Idempotent.
-- KEYS  1.. hashes that carry the flag (the pot, or funds of symbols); where scopes are given, then the outbox (stream);
--         where an id is given, then the ids of actions done (sorted set: id -> ms)
-- ARGV  1 flag: paused (no new buys); on the pot only: stopped (by an operator: no new orders, resting ones are
--         cancelled); on symbols only: liquidate (sell what is held), fired (a stop that fired; only 0 here)
--       2 value 0 or 1  3 id of the action, '' for none: a second call with it changes nothing
--       4.. the scope of each hash, for the history (_outbox.lua): the symbol, or '' for the pot
-- Returns how many of them changed; -1 where the action was done before.
local scopes = #ARGV - 3
if ARGV[3] ~= '' then
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  redis.call('ZREMRANGEBYSCORE', KEYS[#KEYS], '-inf', string.format('%.0f', now - 7 * 86400000))
  if redis.call('ZADD', KEYS[#KEYS], 'NX', string.format('%.0f', now), ARGV[3]) == 0 then return -1 end
end
local changed = 0
for i = 1, scopes > 0 and scopes or #KEYS do
  if (redis.call('HGET', KEYS[i], ARGV[1]) or '0') ~= ARGV[2] then
    redis.call('HSET', KEYS[i], ARGV[1], ARGV[2])
    if scopes > 0 then archive(KEYS[scopes + 1], 'flag', ARGV[1] .. '|' .. ARGV[2] .. '|' .. ARGV[3 + i]) end
    changed = changed + 1
  end
end
return changed
