-- Purpose: Paper exchange, order entry: takes a batch of orders of one symbol, each on its own merits, in order. (After engine.lua.)
--
-- KEYS 1-11 as in engine.lua; 12 request  string  answer already given to this request, kept 60 s: a client that
--  repeats a call whose connection broke gets that answer again instead of a second order
-- ARGV from `op`: per order 14 fields: client (id; empty = make one), side (b|s), type (limit|market), tif (GTC|PO|IOC),
--  price (units; 0 for market), qty (units), mode (rest|take|refuse; refuse: post only, and it would match), lock,
--  credit, cost, fee (units), fee_in (b|q), signed (request time, ms; empty = none), valid_until (ms)
--  A taker's lock is what it pays at once at the price known at the cursor of ARGV 3.
-- Answer: engine answer, then per order one text: `0|order record`, or a refusal:
--  0 OK, 1 DUPLICATE (the client id is in use by an open order), 2 INSUFFICIENT, 3 EXPIRED (request too old),
--  4 EARLY (request time more than 1 s in the future), 5 WOULD_TAKE
local REQUEST = KEYS[12]

local function timely(s, order)
  if order.signed == '' then
    return '0'
  end
  if s.now > tonumber(order.valid_until) then
    return '3'
  end
  return tonumber(order.signed) > s.now + 1000 and '4' or '0'
end

local function in_use(client)
  local id = client ~= '' and redis.call('HGET', CLIENTS, client)
  return id and (redis.call('ZSCORE', BUYS, id) or redis.call('ZSCORE', SELLS, id))
end

-- Takes money out of the free balance; false where there is not enough.
local function pay(currency, units)
  if redis.call('HINCRBY', BALANCES, 'free:' .. currency, '-' .. units) >= 0 then
    return true
  end
  redis.call('HINCRBY', BALANCES, 'free:' .. currency, units)
  return false
end

local function record(s, order)
  local id = int(redis.call('HINCRBY', MARKET, 'next_order', 1))
  local client = order.client ~= '' and order.client or 'paper-' .. id
  redis.call('HSET', CLIENTS, client, id)
  return {id, client, order.side, order.type, order.tif, order.price, order.qty, order.lock, order.credit, order.cost,
    order.fee, order.fee_in, 'open', int(s.now), int(s.now), '', '', int(s.time)}
end

local function rest(s, order, paid)
  redis.call('HINCRBY', BALANCES, 'used:' .. paid, order.lock)
  local fields = record(s, order)
  redis.call('ZADD', order.side == 'b' and BUYS or SELLS, order.price, fields[1])
  redis.call('HSET', ORDERS, fields[1], table.concat(fields, '|'))
  return fields
end

local function take(s, order, got)
  redis.call('HINCRBY', BALANCES, 'free:' .. got, order.credit)
  local fields = record(s, order)
  fields[17] = int(s.last)
  local at = math.max(s.now, s.traded)
  book_trade(s, fields, 't', at)
  settle(s, fields, 'closed', at)
  return fields
end

local function place(s, order)
  local late = timely(s, order)
  if late ~= '0' then
    return late
  end
  if in_use(order.client) then
    return '1'
  end
  if order.mode == 'refuse' then
    return '5'
  end
  local paid, got = money(s, order.side)
  if not pay(paid, order.lock) then
    return '2'
  end
  local fields = order.mode == 'take' and take(s, order, got) or rest(s, order, paid)
  return '0|' .. table.concat(fields, '|')
end

local function order_at(i)
  return {client = ARGV[i], side = ARGV[i + 1], type = ARGV[i + 2], tif = ARGV[i + 3], price = ARGV[i + 4],
    qty = ARGV[i + 5], mode = ARGV[i + 6], lock = ARGV[i + 7], credit = ARGV[i + 8], cost = ARGV[i + 9],
    fee = ARGV[i + 10], fee_in = ARGV[i + 11], signed = ARGV[i + 12], valid_until = ARGV[i + 13]}
end

local function lines_of(text)
  local lines = {}
  for line in string.gmatch(text, '[^\n]+') do
    lines[#lines + 1] = line
  end
  return lines
end

local given = redis.call('GET', REQUEST)
if given then
  local s = load()
  return s and with_results(s, lines_of(given)) or {NO_MARKET, 0, 0, 0, 0}
end
local s, stop = begin()
if not s then
  return stop
end
local lines = {}
for i = op, #ARGV, 14 do
  lines[#lines + 1] = place(s, order_at(i))
end
save(s)
redis.call('SET', REQUEST, table.concat(lines, '\n'), 'EX', 60)
return with_results(s, lines)
