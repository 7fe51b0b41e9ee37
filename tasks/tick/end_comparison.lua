-- Purpose: note that the books agree with the exchange, so that leases are given again.
-- KEYS  1 ids at the last comparison  2 lock of the comparison
-- ARGV  1 holder of the lock  2 ids of the server that the comparison was made on (see _server.lua)
-- Returns 1; 0 where the holder has lost the lock or the server is another one by now: compare again.
if redis.call('GET', KEYS[2]) ~= ARGV[1] or server_ids() ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('DEL', KEYS[2])
return 1
