-- Purpose: put the settings that decide trading in force, with a new version where they differ.
-- KEYS  1 settings  hash: version, body (JSON)  2 outbox (stream; _outbox.lua)
-- ARGV  1 body  2 1: only where none are in force yet
-- Returns the version in force.
local now = redis.call('HMGET', KEYS[1], 'version', 'body')
if now[1] and (ARGV[2] == '1' or now[2] == ARGV[1]) then return tonumber(now[1]) end
redis.call('HSET', KEYS[1], 'body', ARGV[1])
local version = redis.call('HINCRBY', KEYS[1], 'version', 1)
archive(KEYS[2], 'settings', version .. '|' .. ARGV[1])
return version
