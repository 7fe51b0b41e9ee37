-- Purpose: book fills, settle orders that ended, queue fees that other symbols' cells pay, and write the records that
-- follow, in one step.
-- Exactly once: a batch that is already booked changes nothing; a batch that is partly booked is refused.
-- KEYS  1 funds  2 funds of symbol  3 fence  4 reservations  5 seen (sorted set: trade id -> ms)
--       6.. keys of the fees (queues, and funds of their symbols) and of the companion writes; the last one: ids of the server (see _server.lua)
-- ARGV  1 fence
--       2 count f of fills, then f times: trade id, time (ms), reservation id, units taken from the reservation
--         at most (0 for a sell), change of used (units; a buy adds its cost, a sell subtracts the cost it frees)
--       then count e of ended orders, then e times: reservation id (what it still holds is released)
--       then count q of fees for queues, then q times: key index of a hash and a field that it must have, else the
--         fee is left out; key index of the queue, field, entry
--       then companion writes (see _writes.lua)
-- Returns one code:
--   0 OK           booked
--   1 ALREADY      every fill of the batch was booked before; nothing changed
--   5 STALE_FENCE  a newer lease exists for the symbol; nothing changed
--   7 CONFLICT     some fills were booked before and some were not: read again; nothing changed
--   8 RESTARTED    Redis is another server than the one that gave the lease; nothing changed
local refused = stale(KEYS[3], ARGV[1], KEYS[#KEYS])
if refused > 0 then return refused end
local funds, share, reservations, seen = KEYS[1], KEYS[2], KEYS[4], KEYS[5]
local fills = tonumber(ARGV[2])
local booked = 0
for i = 0, fills - 1 do
  if redis.call('ZSCORE', seen, ARGV[3 + i * 5]) then booked = booked + 1 end
end
if fills > 0 and booked == fills then return 1 end
if booked > 0 then return 7 end

local used, taken = 0, 0
local p = 3
for _ = 1, fills do
  local id, want = ARGV[p + 2], tonumber(ARGV[p + 3])
  redis.call('ZADD', seen, ARGV[p + 1], ARGV[p])
  if want > 0 then
    local left = tonumber(redis.call('HGET', reservations, id) or 0)
    local take = math.min(want, left)
    if take > 0 then
      redis.call('HINCRBY', reservations, id, -take)
      taken = taken + take
    end
  end
  used = used + tonumber(ARGV[p + 4])
  p = p + 5
end
if used ~= 0 then
  redis.call('HINCRBY', funds, 'used', used)
  redis.call('HINCRBY', share, 'used', used)
end
if taken ~= 0 then
  redis.call('HINCRBY', funds, 'reserved', -taken)
  redis.call('HINCRBY', share, 'reserved', -taken)
end
if used > taken then
  -- A fill may cost more than was reserved, for instance by a fee in a third coin. It is booked all the same.
  local pot = redis.call('HMGET', funds, 'used', 'reserved', 'max_committed')
  local total = tonumber(pot[1] or 0) + tonumber(pot[2] or 0)
  if total > tonumber(pot[3] or 0) then redis.call('HSET', funds, 'max_committed', string.format('%.0f', total)) end
end
local ended = tonumber(ARGV[p])
p = p + 1
for _ = 1, ended do
  release(funds, share, reservations, ARGV[p])
  p = p + 1
end
local charges = tonumber(ARGV[p])
p = p + 1
for _ = 1, charges do
  if redis.call('HEXISTS', KEYS[tonumber(ARGV[p])], ARGV[p + 1]) == 1 then
    redis.call('HSET', KEYS[tonumber(ARGV[p + 2])], ARGV[p + 3], ARGV[p + 4])
  end
  p = p + 5
end
apply_writes(p)
if fills > 0 and redis.call('ZCARD', seen) > 20000 then redis.call('ZREMRANGEBYRANK', seen, 0, -10001) end
return 0
