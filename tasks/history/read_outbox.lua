-- Purpose: take or renew the right to archive, and read the oldest records, in one step.
-- KEYS  1 lease of the archiver (string, expires)  2 its fence (counter; see _leader.lua)  3 outbox (stream)
-- ARGV  1 owner  2 lease time (ms)  3 most records to read
-- Returns {fence, ids of the server (see _server.lua), entries as XRANGE answers}; {0} when another owner archives.
local fence = leader_fence(KEYS[1], KEYS[2], ARGV[1], ARGV[2])
if not fence then return {0} end
return {fence, server_ids(), redis.call('XRANGE', KEYS[3], '-', '+', 'COUNT', ARGV[3])}
