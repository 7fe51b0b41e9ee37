-- Purpose: take or renew the right to be the one worker of an account that does some work.
-- KEYS  1 lease (string, expires)  2 its fence (counter; see _leader.lua and _server.lua)
-- ARGV  1 owner  2 lease time (ms)
-- Returns the fence; 0 when another owner leads.
return leader_fence(KEYS[1], KEYS[2], ARGV[1], ARGV[2]) or 0
