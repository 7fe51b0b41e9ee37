-- Purpose: give a lease up, so that the next owner need not wait until it runs out.
-- KEYS  1 lease   ARGV  1 owner
-- Returns 1 when this owner held it, else 0.
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
