-- Purpose: delete records from the outbox that are in the database.
-- KEYS  1 outbox (stream)
-- ARGV  1 ids of the server that they were read from (see _server.lua)  2.. ids of the entries, at most 5000
-- Returns how many were deleted; -1 where the server is another one: its entries may have these ids and other contents.
if server_ids() ~= ARGV[1] then return -1 end
local gone = 0
for i = 2, #ARGV do gone = gone + redis.call('XDEL', KEYS[1], ARGV[i]) end
return gone
