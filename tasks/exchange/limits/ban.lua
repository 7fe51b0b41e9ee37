-- Purpose: forbid every call until a time. An earlier ban is extended, never shortened.
-- KEYS  1 ban (string: until and since, ms)
-- ARGV  1 ms from now
-- Returns ms until the ban in force ends. The record stays for a minute longer, so that who looks now and then sees it.
local KEPT_MS = 60000
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local stored = tonumber(string.match(redis.call('GET', KEYS[1]) or '', '^%d+') or 0)
local till = math.max(stored, now + tonumber(ARGV[1]))
if till > stored then
  redis.call('SET', KEYS[1], string.format('%.0f %.0f', till, now), 'PX', string.format('%.0f', till - now + KEPT_MS))
end
return till - now
