-- Purpose: Paper exchange, cancelling: frees the money of resting orders of one symbol. (After engine.lua.)
--
-- KEYS 1-11 as in engine.lua; 12 request  string  answer already given to this request, kept 60 s (see place.lua)
-- ARGV from `op`: per order one text: `i:order id`, `c:client id`, or `*` for all resting orders
-- Answer: engine answer, then one text per reference: the cancelled order's record, or empty where no such order rests
--  (code 0 OK; the engine's codes otherwise)
local REQUEST = KEYS[12]

local function cancel(s, id)
  local index = redis.call('ZSCORE', BUYS, id) and BUYS or redis.call('ZSCORE', SELLS, id) and SELLS
  if not index then
    return ''
  end
  local order = split(redis.call('HGET', ORDERS, id))
  local paid = money(s, order[3])
  redis.call('ZREM', index, id)
  redis.call('HINCRBY', BALANCES, 'used:' .. paid, '-' .. order[8])
  redis.call('HINCRBY', BALANCES, 'free:' .. paid, order[8])
  settle(s, order, 'canceled', math.max(s.now, tonumber(order[14])))
  return table.concat(order, '|')
end

local function wanted(reference)
  if reference ~= '*' then
    local name = string.sub(reference, 3)
    return {string.sub(reference, 1, 1) == 'i' and name or redis.call('HGET', CLIENTS, name) or ''}
  end
  local ids = redis.call('ZRANGE', BUYS, 0, -1)
  for _, id in ipairs(redis.call('ZRANGE', SELLS, 0, -1)) do
    ids[#ids + 1] = id
  end
  return ids
end

local given = redis.call('LRANGE', REQUEST, 0, -1)
if #given > 0 then
  local s = load()
  return s and with_results(s, given) or {NO_MARKET, 0, 0, 0, 0}
end
local s, stop = begin()
if not s then
  return stop
end
local lines = {}
for i = op, #ARGV do
  for _, id in ipairs(wanted(ARGV[i])) do
    lines[#lines + 1] = cancel(s, id)
  end
end
for _, line in ipairs(lines) do
  redis.call('RPUSH', REQUEST, line)
end
if #lines > 0 then
  redis.call('EXPIRE', REQUEST, 60)
end
return with_results(s, lines)
