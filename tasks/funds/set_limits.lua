-- Purpose: write the pool and every symbol's allocation at once, with a new version.
-- Refused as a whole where another writer came first, or where a symbol's inventory now costs more than its new
-- allocation: the caller reads the pot and tries again.
-- Resting buys are not inventory: an allocation may be below what is committed. reserve.lua then grants nothing new.
-- KEYS  1 funds  2 set of registered symbols  3 counters  4 events (stream)
--       5 set of all symbols ever registered  6 format of the records (set when the pot is first shared)
--       7 settings in force (hash: version)
--       8.. per symbol, in the order of ARGV: funds of symbol, cells, intents, fence
--       the last three: ids of the server, and its ids at the last comparison with the exchange (strings, see
--       _server.lua; set when the pot is first shared); outbox (stream; _outbox.lua)
-- ARGV  1 expected version  2 pool (units)  3 report (JSON)  4 rough cap of events
--       5 digest of the operator's inputs  6 time of a scheduled dynamic step (ms), 0 where this is none
--       7 format  8 version of the settings they follow from, 0 where none were in force
--       9 count n, then n times: symbol, allocation (units; -1 unregisters the symbol), cap (units),
--         max usage (share of the capital in force, in 1e-8)
--       the last three: invested and withdrawn money that the pool follows from, reinvested profit in it (units);
--         '' leaves them as they are
--       A symbol with a cap is configured: its flag `liquidate` is cleared, unless it is paused or a stop has fired.
--       An unregistered symbol gets a higher fence, so that a tick in progress can no longer write.
--       A symbol that still has cells, orders or committed money is not unregistered: its allocation becomes what it
--       has used.
-- Returns code, version:
--   0 OK        written
--   1 ALREADY   these limits are in force; nothing changed
--   7 CONFLICT  the version moved on, other settings are in force by now, money was put in or taken out meanwhile, or
--               a symbol's inventory cost more than its new allocation; nothing changed
local funds, symbols = KEYS[1], KEYS[2]
local pot = redis.call('HMGET', funds, 'version', 'pool', 'inputs', 'used', 'reserved', 'invested', 'withdrawn')
local version, pool = tonumber(pot[1] or 0), tonumber(ARGV[2])
if version ~= tonumber(ARGV[1]) then return {7, version} end
local reinvested = ARGV[#ARGV]
if reinvested ~= '' and ((pot[6] or '0') ~= ARGV[#ARGV - 2] or (pot[7] or '0') ~= ARGV[#ARGV - 1]) then
  return {7, version}
end
local in_force = redis.call('HGET', KEYS[7], 'version')
if in_force and ARGV[8] ~= '0' and in_force ~= ARGV[8] then return {7, version} end
local count = tonumber(ARGV[9])
local same = pot[2] == ARGV[2] and pot[3] == ARGV[5]
local wanted, sum = {}, 0
for i = 1, count do
  local p, k = 6 + 4 * i, 4 + 4 * i
  local now = redis.call('HMGET', KEYS[k], 'allocated', 'used', 'reserved', 'cap', 'max_usage')
  local used = tonumber(now[2] or 0)
  local units = tonumber(ARGV[p + 1])
  if units < 0 then
    local busy = used + tonumber(now[3] or 0) > 0 or redis.call('HLEN', KEYS[k + 1]) > 0
      or redis.call('HLEN', KEYS[k + 2]) > 0
    if busy then units = used end
  end
  if used > math.max(units, 0) then return {7, version} end
  wanted[i] = units
  sum = sum + math.max(units, 0)
  if units < 0 then
    same = same and not now[1]
  else
    same = same and tonumber(now[1] or -1) == units and now[4] == ARGV[p + 2] and now[5] == ARGV[p + 3]
  end
end
if sum > math.max(pool, tonumber(pot[4] or 0)) then return {7, version} end
if same then return {1, version} end
for i = 1, count do
  local p, k = 6 + 4 * i, 4 + 4 * i
  local symbol = ARGV[p]
  if wanted[i] < 0 then
    redis.call('HDEL', KEYS[k], 'allocated', 'cap', 'max_usage', 'liquidate')
    redis.call('SREM', symbols, symbol)
    if redis.call('EXISTS', KEYS[k + 3]) == 1 then redis.call('INCR', KEYS[k + 3]) end
  else
    redis.call('HSET', KEYS[k], 'allocated', string.format('%.0f', wanted[i]), 'cap', ARGV[p + 2],
      'max_usage', ARGV[p + 3])
    local flags = redis.call('HMGET', KEYS[k], 'paused', 'fired')
    if tonumber(ARGV[p + 2]) > 0 and flags[1] ~= '1' and (flags[2] or '0') == '0' then
      redis.call('HDEL', KEYS[k], 'liquidate')
    end
    redis.call('SADD', symbols, symbol)
    redis.call('SADD', KEYS[5], symbol)
  end
end
if pot[2] ~= ARGV[2] then
  -- max_committed is measured for each pool anew.
  redis.call('HSET', funds, 'max_committed', string.format('%.0f', tonumber(pot[4] or 0) + tonumber(pot[5] or 0)))
end
if version == 0 then
  redis.call('SET', KEYS[6], ARGV[7], 'NX')
  -- From now on, another server is one that restarted or went back.
  redis.call('SET', KEYS[#KEYS - 2], server_ids())
  redis.call('SET', KEYS[#KEYS - 1], server_ids())
end
redis.call('HSET', funds, 'pool', ARGV[2], 'inputs', ARGV[5])
if reinvested ~= '' then redis.call('HSET', funds, 'reinvested', reinvested) end
if ARGV[6] ~= '0' then redis.call('HSET', funds, 'stepped', ARGV[6]) end
version = redis.call('HINCRBY', funds, 'version', 1)
redis.call('HINCRBY', KEYS[3], 'rebalances', 1)
redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[4], '*', 'type', 'allocation_updated', 'body', ARGV[3])
archive(KEYS[#KEYS], 'rebalance', ARGV[3])
return {0, version}
