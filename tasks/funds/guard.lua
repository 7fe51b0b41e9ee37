-- Purpose: store what the quote guard found (tasks/ledger/quote_guard.py): by how much the exchange surely holds less
-- quote than the pot promises. While it does, nothing new is granted. A look that compared itself with another first
-- look than the stored one is left alone: another worker has looked meanwhile.
-- KEYS  1 funds  2 first look (string)  3 events (stream)  4 outbox (stream; _outbox.lua)
-- ARGV  1 units short (1e-8 quote)  2 units promised  3 first look that was read before ('' for none)
--       4 first look to store ('' for none)  5 rough cap of the stream
-- Returns units short now, units short before. A change between short and not short is an event.
local before = tonumber(redis.call('HGET', KEYS[1], 'short') or 0)
if (redis.call('GET', KEYS[2]) or '') ~= ARGV[3] then return {before, before} end
if ARGV[4] == '' then redis.call('DEL', KEYS[2]) else redis.call('SET', KEYS[2], ARGV[4]) end
local short = tonumber(ARGV[1])
if short ~= before then
  redis.call('HSET', KEYS[1], 'short', string.format('%.0f', short))
  if (short > 0) ~= (before > 0) then
    local kind = short > 0 and 'funds_short' or 'funds_restored'
    local body = string.format('{"short_units":%.0f,"promised_units":%s}', short, ARGV[2])
    redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[5], '*', 'type', kind, 'body', body)
    archive(KEYS[4], 'event', kind .. '|' .. body)
  end
end
return {short, before}
