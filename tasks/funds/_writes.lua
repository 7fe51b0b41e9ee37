-- Shared by the scripts that change a symbol's books (included before their own text).
-- Companion writes let a script change money and the records that explain it in one atomic step.
-- Encoding in ARGV from position p: count, then per write: key index (into KEYS), verb, field, value.
--   verbs: HSET (field, value) | HDEL (field) | SET (value) | DEL | LPUSH (field = cap, value) | ZADD (field = score, value)
--     | SADD (value)
--     | XADD (field = kind, value = body: a record for the outbox, see tasks/base/outbox.py)
--     | EVENT (field = kind, value = body: an event for the capped stream of events, see tasks/base/events.py)
local function apply_writes(p)
  local count = tonumber(ARGV[p])
  p = p + 1
  for _ = 1, count do
    local key, verb, field, value = KEYS[tonumber(ARGV[p])], ARGV[p + 1], ARGV[p + 2], ARGV[p + 3]
    if verb == 'HSET' then
      redis.call('HSET', key, field, value)
    elseif verb == 'HDEL' then
      redis.call('HDEL', key, field)
    elseif verb == 'DEL' then
      redis.call('DEL', key)
    elseif verb == 'SET' then
      redis.call('SET', key, value)
    elseif verb == 'LPUSH' then
      redis.call('LPUSH', key, value)
      redis.call('LTRIM', key, 0, tonumber(field) - 1)
    elseif verb == 'ZADD' then
      redis.call('ZADD', key, field, value)
    elseif verb == 'SADD' then
      redis.call('SADD', key, value)
    elseif verb == 'XADD' then
      redis.call('XADD', key, '*', 'kind', field, 'body', value)
    elseif verb == 'EVENT' then
      redis.call('XADD', key, 'MAXLEN', '~', 200, '*', 'type', field, 'body', value)
    end
    p = p + 4
  end
  return p
end

-- Releases what a reservation still holds; returns the units, 0 where there is no such reservation.
local function release(funds, share, reservations, id)
  local left = redis.call('HGET', reservations, id)
  if not left then return 0 end
  redis.call('HDEL', reservations, id)
  left = tonumber(left)
  if left ~= 0 then
    redis.call('HINCRBY', funds, 'reserved', -left)
    redis.call('HINCRBY', share, 'reserved', -left)
  end
  return left
end
