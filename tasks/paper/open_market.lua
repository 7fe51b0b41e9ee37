-- Purpose: Opens the paper exchange's one market: the first caller writes it, every later caller reads it.
-- After a time without activity, the market's clock restarts from its position at the last activity.
--
-- KEYS 1 market hash (see engine.lua), 2 balances hash
-- ARGV 1 now (ms), 2 time without activity (ms) after which the clock restarts, 3 quote currency, 4 start balance (units),
--  then field, value, ... of a new market; without 3 and those after it, nothing is created
-- Answer: field, value, ... of the market as it is now; empty: there is none
local now, silence = tonumber(ARGV[1]), tonumber(ARGV[2])
local function int(number)
  return string.format('%.0f', number)
end

if redis.call('EXISTS', KEYS[1]) == 0 then
  if #ARGV < 5 then
    return {}
  end
  redis.call('HSET', KEYS[1], unpack(ARGV, 5))
  redis.call('HSET', KEYS[2], 'free:' .. ARGV[3], ARGV[4], 'used:' .. ARGV[3], 0)
end
local m = redis.call('HMGET', KEYS[1], 'activity', 'anchor', 'position', 'speed', 'epoch')
local activity = tonumber(m[1])
if now - activity > silence then
  local position = tonumber(m[3]) + math.floor(math.max(activity - tonumber(m[2]), 0) * tonumber(m[4]))
  redis.call('HSET', KEYS[1], 'anchor', int(now), 'position', int(position), 'epoch', int(tonumber(m[5]) + 1))
end
if now > activity then
  redis.call('HSET', KEYS[1], 'activity', int(now))
end
return redis.call('HGETALL', KEYS[1])
