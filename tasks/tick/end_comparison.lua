-- Purpose: note that the books agree with the exchange, so that leases are given again. The settings in force get a
-- version that no worker knows: Redis may have lost newer ones, whose versions would be given again.
-- KEYS  1 ids at the last comparison  2 lock of the comparison  3 settings in force (hash)
-- ARGV  1 holder of the lock  2 ids of the server that the comparison was made on (see _server.lua)
-- Returns 1; 0 where the holder has lost the lock or the server is another one by now: compare again.
if redis.call('GET', KEYS[2]) ~= ARGV[1] or server_ids() ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('DEL', KEYS[2])
if redis.call('HEXISTS', KEYS[3], 'version') == 1 then
  local version = tonumber(redis.call('HGET', KEYS[3], 'version'))
  local seconds = tonumber(redis.call('TIME')[1])
  redis.call('HSET', KEYS[3], 'version', string.format('%.0f', math.max(version + 1, seconds)))
end
return 1
