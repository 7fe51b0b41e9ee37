-- Purpose: compare the quote the exchange really holds with what the pot promises (pool less what is used). While it
-- holds less, nothing new is granted, until a later comparison finds enough.
-- KEYS  1 funds  2 events (stream)  3 outbox (stream; _outbox.lua)
-- ARGV  1 quote held on the exchange, free and locked (units of 1e-8)  2 rough cap of the stream
-- Returns units short now, units short before. A change between short and not short is an event.
local pot = redis.call('HMGET', KEYS[1], 'pool', 'used', 'short')
local promised = tonumber(pot[1] or 0) - tonumber(pot[2] or 0)
local before = tonumber(pot[3] or 0)
local short = math.max(promised - tonumber(ARGV[1]), 0)
if short ~= before then
  redis.call('HSET', KEYS[1], 'short', string.format('%.0f', short))
  if (short > 0) ~= (before > 0) then
    local kind = short > 0 and 'funds_short' or 'funds_restored'
    local body = string.format('{"short_units":%.0f,"promised_units":%.0f}', short, promised)
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], '*', 'type', kind, 'body', body)
    archive(KEYS[3], 'event', kind .. '|' .. body)
  end
end
return {short, before}
