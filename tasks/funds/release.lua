-- Purpose: give back what reservations still hold (orders cancelled, rejected or proven never placed), with the
-- records that say so. Idempotent: a reservation that is gone holds nothing.
-- KEYS  1 funds  2 funds of symbol  3 fence  4 reservations  5.. keys of the companion writes
--       the last one: ids of the server (see _server.lua)
-- ARGV  1 fence  2 count n, then n reservation ids, then companion writes (see _writes.lua)
-- Returns code, units given back:
--   0 OK           done
--   5 STALE_FENCE  a newer lease exists for the symbol; nothing changed
--   8 RESTARTED    Redis is another server than the one that gave the lease; nothing changed
local refused = stale(KEYS[3], ARGV[1], KEYS[#KEYS])
if refused > 0 then return {refused, 0} end
local given = 0
local p = 3
for _ = 1, tonumber(ARGV[2]) do
  given = given + release(KEYS[1], KEYS[2], KEYS[4], ARGV[p])
  p = p + 1
end
apply_writes(p)
return {0, given}
