-- Purpose: take or renew the right to tick a symbol, and read everything a tick starts from, in one step.
-- KEYS  1 lease (string, expires)  2 fence (counter)  3 grid  4 book  5 last tick  (strings)
--       6 cells  7 intents  8 funds  9 funds of symbol  10 circuit breakers  (hashes)  11 ban (string)
-- ARGV  1 owner of the lease  2 lease time (ms)  3 symbol
-- Returns {0, ms until the other holder's lease ends} when somebody else holds the lease, else
--   {fence, grid, book, last tick, cells (flat), intents (flat), pool, used, reserved, paused, stopped, short,
--    registered, allocated, used of symbol, reserved of symbol, paused of symbol,
--    breaker of symbol, breaker of the exchange, 1 while the exchange bans us else 0}; missing strings are ''.
-- Stopped: by an operator, or held by a process that winds the pot down (_holds.lua).
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return {0, redis.call('PTTL', KEYS[1])} end
if owner then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
else
  -- The first fence is the time, so that one granted before Redis lost everything stays lower than any after it.
  redis.call('SET', KEYS[2], redis.call('TIME')[1] .. '000', 'NX')
  redis.call('INCR', KEYS[2])
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
local out = {tonumber(redis.call('GET', KEYS[2]))}
for k = 3, 5 do out[#out + 1] = redis.call('GET', KEYS[k]) or '' end
out[#out + 1] = redis.call('HGETALL', KEYS[6])
out[#out + 1] = redis.call('HGETALL', KEYS[7])
for _, value in ipairs(redis.call('HMGET', KEYS[8], 'pool', 'used', 'reserved', 'paused', 'stopped', 'short')) do
  out[#out + 1] = tonumber(value or 0)
end
if held(redis.call('HGET', KEYS[8], 'holds')) then out[11] = 1 end
local share = redis.call('HMGET', KEYS[9], 'allocated', 'used', 'reserved', 'paused')
out[#out + 1] = share[1] and 1 or 0
for i = 1, 4 do out[#out + 1] = tonumber(share[i] or 0) end
for _, text in ipairs(redis.call('HMGET', KEYS[10], ARGV[3], '*')) do out[#out + 1] = text or '' end
out[#out + 1] = redis.call('EXISTS', KEYS[11])
return out
