-- Purpose: keep the right to tick while a tick or a recovery takes longer than the lease lasts.
-- KEYS  1 lease   ARGV  1 owner  2 lease time (ms)
-- Returns 1 when this owner still held it, else 0.
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0
