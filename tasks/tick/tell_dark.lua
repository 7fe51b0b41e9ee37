-- Purpose: note which symbols are dark, and tell of each change once, whichever worker sees it first.
-- KEYS  1 dark symbols (hash: symbol -> JSON)  2 events (stream)  3 outbox (stream; _outbox.lua)
-- ARGV  1 rough cap of the stream  2 kind of the event for a symbol that is dark  3 for one that is not any more
--       4 count n, then n times: symbol, record ('' where it is not dark any more), body of the event
-- Returns n numbers: 1 told, 0 known already.
local out = {}
for i = 1, tonumber(ARGV[4]) do
  local symbol, record, body = ARGV[3 * i + 2], ARGV[3 * i + 3], ARGV[3 * i + 4]
  local changed
  if record == '' then
    changed = redis.call('HDEL', KEYS[1], symbol)
  else
    changed = redis.call('HSETNX', KEYS[1], symbol, record)
  end
  if changed == 1 then
    local kind = ARGV[2]
    if record == '' then kind = ARGV[3] end
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[1], '*', 'type', kind, 'body', body)
    archive(KEYS[3], 'event', kind .. '|' .. body)
  end
  out[i] = changed
end
return out
