-- Purpose: store the newest comparison of each coin with the exchange's balance, tell what changed, and have base that
-- is missing booked by the next tick of its symbol. A coin whose record is not the one that was read before is left
-- alone: another worker has compared it meanwhile.
-- KEYS  1 comparisons (hash: coin -> JSON)  2 events (stream)  3.. per coin: corrections of its symbol (hash)
--       the last one: outbox (stream; _outbox.lua)
-- ARGV  1 rough cap of the stream  2 count n, then n times:
--       coin, record read before ('' for none), record to store, kind of the event ('' for none), its body,
--       field of the correction ('' for none), the correction
-- Returns n numbers: 1 stored, 0 left alone.
local out = {}
local p = 3
for i = 1, tonumber(ARGV[2]) do
  local coin, before, record = ARGV[p], ARGV[p + 1], ARGV[p + 2]
  local kind, body, field, correction = ARGV[p + 3], ARGV[p + 4], ARGV[p + 5], ARGV[p + 6]
  p = p + 7
  if (redis.call('HGET', KEYS[1], coin) or '') == before then
    redis.call('HSET', KEYS[1], coin, record)
    if kind ~= '' then
      redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[1], '*', 'type', kind, 'body', body)
      archive(KEYS[#KEYS], 'event', kind .. '|' .. body)
    end
    if field ~= '' then redis.call('HSETNX', KEYS[2 + i], field, correction) end
    out[i] = 1
  else
    out[i] = 0
  end
end
return out
