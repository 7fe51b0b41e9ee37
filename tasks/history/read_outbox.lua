-- Purpose: take or renew the right to archive, and read the oldest records, in one step.
-- KEYS  1 lease of the archiver (string, expires)  2 its fence (counter)  3 outbox (stream)
-- ARGV  1 owner  2 lease time (ms)  3 most records to read
-- Returns {fence, ids of the server (see _server.lua), entries as XRANGE answers}; {0} when another owner archives.
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return {0} end
if owner then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
else
  -- The first fence is the time, so that one given before Redis lost everything stays lower than any after it.
  redis.call('SET', KEYS[2], time_fence(), 'NX')
  redis.call('INCR', KEYS[2])
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return {tonumber(redis.call('GET', KEYS[2])), server_ids(), redis.call('XRANGE', KEYS[3], '-', '+', 'COUNT', ARGV[3])}
