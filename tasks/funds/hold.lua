-- Purpose: hold the whole pot stopped for a while, renew that, or end it (_holds.lua). Each owner has its own hold;
-- holds that have run out are dropped.
-- KEYS  1 funds
-- ARGV  1 owner (without spaces and =)  2 how long from now (ms); 0 ends the owner's hold
-- Returns how many holds stand afterwards.
local now = now_ms()
local standing = {}
for owner, till in string.gmatch(redis.call('HGET', KEYS[1], 'holds') or '', '(%S+)=(%d+)') do
  if owner ~= ARGV[1] and tonumber(till) > now then standing[#standing + 1] = owner .. '=' .. till end
end
if ARGV[2] ~= '0' then standing[#standing + 1] = ARGV[1] .. '=' .. string.format('%.0f', now + ARGV[2]) end
if #standing > 0 then
  redis.call('HSET', KEYS[1], 'holds', table.concat(standing, ' '))
else
  redis.call('HDEL', KEYS[1], 'holds')
end
return #standing
