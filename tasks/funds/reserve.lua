-- Purpose: grant money to a batch of orders of one symbol and journal each granted order, in one step.
-- Checks and grants each item on its own: one refusal does not refuse the batch. Idempotent by slot and sequence.
-- KEYS  1 funds            hash: pool, used, reserved (units of 1e-8 quote), paused, short, max_committed, stopped, holds,
--                          history_full
--       2 funds of symbol  hash: allocated, used, reserved (units), paused
--       3 fence            counter: newest fence of the symbol
--       4 reservations     hash: id -> units held
--       5 slots            hash: order slot -> highest sequence journalled
--       6 intents          hash: id -> journal entry
--       7 cells            hash: cell key -> cell record
--       8 blocked counts   hash: symbol|code -> refusals
--       9 ids of the server (string, see _server.lua)
--       10 outbox          stream: journal entries and refusals for the history (_outbox.lua)
-- ARGV  1 fence  2 symbol  3 time (ms)  4 count n
--       then n times (n from 1 to 1000): id, slot, sequence, units (0 for a sell), journal entry, cell key, cell record
-- Returns n codes:
--   0 OK             granted and journalled
--   1 ALREADY        this slot has journalled this sequence or a later one; nothing changed
--   2 SYMBOL_LIMIT   the symbol's committed money would exceed its allocation
--   3 GLOBAL_LIMIT   the pool would be exceeded, or the exchange holds less quote than promised
--   4 PAUSED         new buys are paused, or too many records wait for the history database (history_full), or
--                    trading is stopped (sells too then; see _holds.lua)
--   5 STALE_FENCE    a newer lease exists for the symbol
--   6 UNKNOWN_SYMBOL the symbol is not registered
--   8 RESTARTED      Redis is another server than the one that gave the lease
local funds, share = KEYS[1], KEYS[2]
local call = redis.call
local count = tonumber(ARGV[4])
local codes = {}

local function all(code)
  for i = 1, count do codes[i] = code end
  return codes
end

local refused = stale(KEYS[3], ARGV[1], KEYS[9])
if refused > 0 then return all(refused) end
local mine = call('HMGET', share, 'allocated', 'used', 'reserved', 'paused')
if not mine[1] then return all(6) end
local pot = call('HMGET', funds, 'pool', 'used', 'reserved', 'paused', 'short', 'max_committed', 'stopped', 'holds',
  'history_full')
local committed = (mine[2] or 0) + (mine[3] or 0)
local total = (pot[2] or 0) + (pot[3] or 0)
local allocated, pool = tonumber(mine[1]), tonumber(pot[1] or 0)
local paused = mine[4] == '1' or pot[4] == '1' or pot[9] == '1'
local short = tonumber(pot[5] or 0) > 0
local stopped = pot[7] == '1' or held(pot[8])

local function judge(units)
  if stopped then return 4 end
  if units == 0 then return 0 end
  if paused then return 4 end
  if committed + units > allocated then return 2 end
  if short or total + units > pool then return 3 end
  return 0
end

-- One read and one write per hash for the whole batch, however many items it has.
local names = {}
for i = 1, count do names[i] = ARGV[7 * i - 1] end
local last = call('HMGET', KEYS[5], unpack(names))
local newest = {}
for i = 1, count do newest[names[i]] = tonumber(last[i] or -1) end

local slots, held, journal, cells = {}, {}, {}, {}
local granted, n = 0, 0
local p = 5
for i = 1, count do
  local slot, sequence, units = names[i], tonumber(ARGV[p + 2]), tonumber(ARGV[p + 3])
  local code
  if newest[slot] >= sequence then code = 1 else code = judge(units) end
  if code == 0 then
    local id = ARGV[p]
    newest[slot] = sequence
    slots[n + 1], slots[n + 2] = slot, ARGV[p + 2]
    held[n + 1], held[n + 2] = id, ARGV[p + 3]
    journal[n + 1], journal[n + 2] = id, ARGV[p + 4]
    archive(KEYS[10], 'order', ARGV[p + 4])
    cells[n + 1], cells[n + 2] = ARGV[p + 5], ARGV[p + 6]
    n = n + 2
    committed, total, granted = committed + units, total + units, granted + units
  elseif code > 1 then
    call('HINCRBY', KEYS[8], ARGV[2] .. '|' .. code, 1)
    local refusal = ARGV[3] .. '|' .. ARGV[2] .. '|' .. code .. '|' .. ARGV[p + 3] .. '|' .. ARGV[p]
    archive(KEYS[10], 'blocked', refusal)
  end
  codes[i] = code
  p = p + 7
end
if n > 0 then
  call('HSET', KEYS[5], unpack(slots))
  call('HSET', KEYS[4], unpack(held))
  call('HSET', KEYS[6], unpack(journal))
  call('HSET', KEYS[7], unpack(cells))
end
if granted > 0 then
  call('HINCRBY', funds, 'reserved', granted)
  call('HINCRBY', share, 'reserved', granted)
  if total > tonumber(pot[6] or 0) then call('HSET', funds, 'max_committed', string.format('%.0f', total)) end
end
return codes
