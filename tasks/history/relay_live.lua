-- Purpose: copy new records of the outbox to the capped stream for live readers, each under its own id, so that a
-- record is never there twice, whoever copies it.
-- KEYS  1 outbox (stream)  2 live stream
-- ARGV  1 most records to copy  2 how many records the live stream keeps  3 how many older ones a first copy takes
-- Returns how many records were copied.
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
local entries
if last then
  entries = redis.call('XRANGE', KEYS[1], '(' .. last[1], '+', 'COUNT', ARGV[1])
else
  local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', ARGV[3])
  entries = {}
  for position = #newest, 1, -1 do entries[#entries + 1] = newest[position] end
end
for _, entry in ipairs(entries) do
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], entry[1], unpack(entry[2]))
end
return #entries
