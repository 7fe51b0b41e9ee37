-- Purpose: after Redis restarted, failed over or was restored: make every lease from before invalid, also those that
-- Redis no longer knows of.
-- KEYS  1 ids of the server  2 ids at the last comparison  3 lock of the comparison
--       then per symbol: fence (counter), lease (string)
-- ARGV  1 holder of the lock
-- Returns the ids of this server (see _server.lua); '' where the holder has lost the lock, or where the comparison
--   on this server is done already; nothing changed then.
local ids = server_ids()
if redis.call('GET', KEYS[3]) ~= ARGV[1] or redis.call('GET', KEYS[2]) == ids then return '' end
local least = tonumber(time_fence())
for i = 4, #KEYS, 2 do
  local fence = math.max(tonumber(redis.call('GET', KEYS[i]) or 0) + 1, least)
  redis.call('SET', KEYS[i], string.format('%.0f', fence))
  redis.call('DEL', KEYS[i + 1])
end
redis.call('SET', KEYS[1], ids)
return ids
