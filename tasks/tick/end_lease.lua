-- Purpose: give up the right to tick, so that the next window need not wait for the lease to run out.
-- KEYS  1 lease   ARGV  1 owner
-- Returns 1 when this owner held it, else 0.
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
