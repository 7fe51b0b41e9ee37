-- Purpose: journal orders that the exchange has already: one of ours without a journal entry, or one that was changed
-- by hand. What it can still cost is reserved, even past the limits: the money is bound, granted or not.
-- The pot's field `adopted` counts all units that were ever reserved like this.
-- KEYS  1 funds  2 funds of symbol  3 fence  4 reservations  5 slots  6 intents  7 cells
--       8 ids of the server (string, see _server.lua)
-- ARGV  1 fence  2 count n
--       then n times: id, slot, sequence, units that it can still cost (0 for a sell), journal entry, cell key, cell record
-- Returns one code:
--   0 OK           journalled; the reservation of each holds its units, its slot at least its sequence
--   5 STALE_FENCE  a newer lease exists for the symbol; nothing changed
--   8 RESTARTED    Redis is another server than the one that gave the lease; nothing changed
local call = redis.call
local refused = stale(KEYS[3], ARGV[1], KEYS[8])
if refused > 0 then return refused end
local more = 0
local p = 3
for _ = 1, tonumber(ARGV[2]) do
  local id, slot, sequence, units = ARGV[p], ARGV[p + 1], tonumber(ARGV[p + 2]), tonumber(ARGV[p + 3])
  if tonumber(call('HGET', KEYS[5], slot) or -1) < sequence then call('HSET', KEYS[5], slot, ARGV[p + 2]) end
  more = more + units - tonumber(call('HGET', KEYS[4], id) or 0)
  call('HSET', KEYS[4], id, ARGV[p + 3])
  call('HSET', KEYS[6], id, ARGV[p + 4])
  call('HSET', KEYS[7], ARGV[p + 5], ARGV[p + 6])
  p = p + 7
end
if more ~= 0 then
  call('HINCRBY', KEYS[1], 'reserved', more)
  if more > 0 then call('HINCRBY', KEYS[1], 'adopted', more) end
  call('HINCRBY', KEYS[2], 'reserved', more)
end
return 0
