-- Purpose: whether the books in Redis may be relied on: whether they were compared with the exchange since Redis
-- restarted, failed over or was restored, or are new.
-- KEYS  1 ids of the server at the last comparison with the exchange (string, see _server.lua)
--       2 funds (hash: version)  3 stats (hash)
-- Returns 1 or 0.
local compared = redis.call('GET', KEYS[1])
local is_new = not compared and redis.call('EXISTS', KEYS[3]) == 0
if redis.call('HEXISTS', KEYS[2], 'version') == 0 or is_new or compared == server_ids() then return 1 end
return 0
