-- Purpose: write the pool and every symbol's allocation at once, with a new version.
-- Refused whole when another writer was first, or when money committed meanwhile no longer fits: read and try again.
-- KEYS  1 funds  2 set of symbols  3 rebalance reports (list)  4 counters  5 events (stream)
--       6.. funds of each symbol, in the order of ARGV
-- ARGV  1 expected version  2 pool (units)  3 report (JSON)  4 cap of reports and, roughly, of events
--       5 digest of what the shares were computed from  6 count n
--       then n times: symbol, allocation (units; -1 unregisters a symbol that has nothing committed)
-- Returns code, version:
--   0 OK        written
--   1 ALREADY   these limits, or limits computed from the same inputs, are in force; nothing changed
--   7 CONFLICT  the version moved on, or a symbol has committed more than its new allocation; nothing changed
local funds, symbols = KEYS[1], KEYS[2]
local version = tonumber(redis.call('HGET', funds, 'version') or 0)
if version ~= tonumber(ARGV[1]) then return {7, version} end
local count = tonumber(ARGV[6])
local same = redis.call('HGET', funds, 'pool') == ARGV[2]
for i = 1, count do
  local wanted = ARGV[6 + 2 * i]
  local now = redis.call('HMGET', KEYS[5 + i], 'allocated', 'used', 'reserved')
  local committed = tonumber(now[2] or 0) + tonumber(now[3] or 0)
  if committed > math.max(tonumber(wanted), 0) then return {7, version} end
  same = same and (now[1] or '-1') == wanted
end
if same or redis.call('HGET', funds, 'inputs') == ARGV[5] then return {1, version} end
for i = 1, count do
  local symbol, wanted = ARGV[5 + 2 * i], ARGV[6 + 2 * i]
  if wanted == '-1' then
    redis.call('HDEL', KEYS[5 + i], 'allocated')
    redis.call('SREM', symbols, symbol)
  else
    redis.call('HSET', KEYS[5 + i], 'allocated', wanted)
    redis.call('SADD', symbols, symbol)
  end
end
redis.call('HSET', funds, 'pool', ARGV[2], 'inputs', ARGV[5])
version = redis.call('HINCRBY', funds, 'version', 1)
redis.call('LPUSH', KEYS[3], ARGV[3])
redis.call('LTRIM', KEYS[3], 0, tonumber(ARGV[4]) - 1)
redis.call('HINCRBY', KEYS[4], 'rebalances', 1)
redis.call('XADD', KEYS[5], 'MAXLEN', '~', ARGV[4], '*', 'type', 'allocation_updated', 'body', ARGV[3])
return {0, version}
