-- Purpose: grant money to a batch of orders of one symbol and journal each granted order, in one step.
-- Checks and grants each item on its own: one refusal does not refuse the batch. Idempotent by slot and sequence.
-- KEYS  1 funds            hash: pool, used, reserved (units of 1e-8 quote), paused, short, max_committed
--       2 funds of symbol  hash: allocated, used, reserved (units), paused
--       3 fence            counter: newest fence of the symbol
--       4 reservations     hash: id -> units held
--       5 slots            hash: order slot -> highest sequence journalled
--       6 intents          hash: id -> journal entry
--       7 cells            hash: cell key -> cell record
--       8 blocked counts   hash: symbol|code -> refusals
--       9 blocked list     capped list of refusals
-- ARGV  1 fence  2 symbol  3 time (ms)  4 cap of the blocked list  5 count n
--       then n times: id, slot, sequence, units (0 for a sell), journal entry, cell key, cell record
-- Returns n codes:
--   0 OK             granted and journalled
--   1 ALREADY        this slot has journalled this sequence or a later one; nothing changed
--   2 SYMBOL_LIMIT   the symbol's committed money would exceed its allocation
--   3 GLOBAL_LIMIT   the pool would be exceeded, or the exchange holds less quote than promised
--   4 PAUSED         new buys are paused
--   5 STALE_FENCE    a newer lease exists for the symbol
--   6 UNKNOWN_SYMBOL the symbol is not registered
local funds, share = KEYS[1], KEYS[2]
local count = tonumber(ARGV[5])
local codes = {}

local function all(code)
  for i = 1, count do codes[i] = code end
  return codes
end

if (redis.call('GET', KEYS[3]) or '0') ~= ARGV[1] then return all(5) end
local mine = redis.call('HMGET', share, 'allocated', 'used', 'reserved', 'paused')
if not mine[1] then return all(6) end
local pot = redis.call('HMGET', funds, 'pool', 'used', 'reserved', 'paused', 'short', 'max_committed')
local allocated = tonumber(mine[1])
local committed = tonumber(mine[2] or 0) + tonumber(mine[3] or 0)
local pool = tonumber(pot[1] or 0)
local total = tonumber(pot[2] or 0) + tonumber(pot[3] or 0)
local paused = mine[4] == '1' or pot[4] == '1'
local short = tonumber(pot[5] or 0) > 0

local function judge(units)
  if units == 0 then return 0 end
  if paused then return 4 end
  if committed + units > allocated then return 2 end
  if short or total + units > pool then return 3 end
  return 0
end

local granted = 0
local p = 6
for i = 1, count do
  local id, slot, sequence, units = ARGV[p], ARGV[p + 1], tonumber(ARGV[p + 2]), tonumber(ARGV[p + 3])
  local last = redis.call('HGET', KEYS[5], slot)
  local code = 0
  if last and tonumber(last) >= sequence then code = 1 else code = judge(units) end
  if code == 0 then
    redis.call('HSET', KEYS[5], slot, ARGV[p + 2])
    redis.call('HSET', KEYS[4], id, ARGV[p + 3])
    redis.call('HSET', KEYS[6], id, ARGV[p + 4])
    redis.call('HSET', KEYS[7], ARGV[p + 5], ARGV[p + 6])
    committed, total, granted = committed + units, total + units, granted + units
  elseif code > 1 then
    redis.call('HINCRBY', KEYS[8], ARGV[2] .. '|' .. code, 1)
    redis.call('LPUSH', KEYS[9], ARGV[3] .. '|' .. ARGV[2] .. '|' .. code .. '|' .. ARGV[p + 3] .. '|' .. id)
    redis.call('LTRIM', KEYS[9], 0, tonumber(ARGV[4]) - 1)
  end
  codes[i] = code
  p = p + 7
end
if granted > 0 then
  redis.call('HINCRBY', funds, 'reserved', granted)
  redis.call('HINCRBY', share, 'reserved', granted)
  if total > tonumber(pot[6] or 0) then redis.call('HSET', funds, 'max_committed', string.format('%.0f', total)) end
end
return codes
