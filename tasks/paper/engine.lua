-- Paper exchange, common part: put in front of place, cancel, read and tick. Replays finished candles against the
-- resting orders (each candle exactly once, in order), then the operation that follows answers.
--
-- Money is never multiplied here: every order carries what it locks, what its fill brings, its cost and its fee, worked
-- out exactly by the caller. Balances move by HINCRBY (64-bit), because Lua numbers are exact to 2^53 only.
-- Prices, amounts and money are integers in units of 1e-8 (prices below 2^53 units, so that scores are exact).
--
-- KEYS
--  1 market    hash   the one market: epoch, activity (ms), keep (count), next_order, next_trade
--  2 balances  hash   free:CUR, used:CUR (units)
--  3 state     hash   this symbol: cursor (candles done), last (units), time (market ms), seen, traded (ms), base, quote
--  4 orders    hash   order id -> order record
--  5 buys      zset   resting buys:  price (units) -> order id
--  6 sells     zset   resting sells: price (units) -> order id
--  7 filled    zset   filled orders:   created (ms) -> order id, the oldest fall out above `keep`
--  8 cancelled zset   cancelled orders: created (ms) -> order id, likewise
--  9 clients   hash   client order id -> newest order id
-- 10 trades    zset   trade id -> trade record, likewise capped
-- 11 times     zset   trade time (ms) -> trade id
-- ARGV
--  1 now (ms), empty = the server's own clock     2 epoch the caller knows
--  3 cursor the operation was made for, empty = any
--  4 number of the first candle given             5 count of candles, then 7 fields each:
--    market time (ms), open, high, low, close (units), wall-clock start, wall-clock end (ms)
--  then the operation's own arguments, from ARGV[op] on
-- Record of an order (fields joined by |; amounts in units, times in ms; names as in ccxt_shapes.py):
--  1 id, 2 client (id), 3 side (b|s), 4 type (limit|market), 5 tif (GTC|PO|IOC), 6 price, 7 qty, 8 lock, 9 credit,
--  10 cost, 11 fee, 12 fee_in (b|q), 13 status (open|closed|canceled), 14 created, 15 updated, 16 trade (id),
--  17 fill_price, 18 market_time
-- Record of a trade: 1 id, 2 order (id), 3 client (id), 4 side (b|s), 5 price, 6 qty, 7 cost, 8 fee, 9 fee_in (b|q),
--  10 role (m|t: maker or taker), 11 at, 12 market_time
-- Answer: {code, cursor, last, now_ms, market_ms, texts ...}
--  code 0 OK, 1 BEHIND (candles before the given ones are missing: send from `cursor`),
--  2 MOVED (the cursor is not the one in ARGV 3), 3 REANCHORED (another epoch), 4 NO_MARKET (nothing stored here)
local OK, BEHIND, MOVED, REANCHORED, NO_MARKET = 0, 1, 2, 3, 4
local MARKET, BALANCES, STATE, ORDERS, BUYS, SELLS = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local FILLED, CANCELLED, CLIENTS, TRADES, TIMES = KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11]
local op = 6 + tonumber(ARGV[5]) * 7

local function int(number)
  return string.format('%.0f', number)
end

local function split(text)
  local parts = {}
  for part in string.gmatch(text .. '|', '([^|]*)|') do
    parts[#parts + 1] = part
  end
  return parts
end

local function server_now()
  if ARGV[1] ~= '' then
    return tonumber(ARGV[1])
  end
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function load()
  local market = redis.call('HMGET', MARKET, 'epoch', 'keep', 'activity')
  local state = redis.call('HMGET', STATE, 'cursor', 'last', 'time', 'seen', 'traded', 'base', 'quote')
  if not market[1] or not state[1] then
    return nil
  end
  return {
    epoch = market[1], keep = tonumber(market[2]), activity = tonumber(market[3]),
    cursor = tonumber(state[1]), last = tonumber(state[2]), time = tonumber(state[3]), seen = tonumber(state[4]),
    traded = tonumber(state[5]), base = state[6], quote = state[7], now = server_now(),
  }
end

local function save(s)
  s.seen = math.max(s.seen, s.now)
  redis.call('HSET', STATE, 'cursor', int(s.cursor), 'last', int(s.last), 'time', int(s.time), 'seen', int(s.seen),
    'traded', int(s.traded))
  if s.now > s.activity then
    redis.call('HSET', MARKET, 'activity', int(s.now))
  end
end

local function answer(s, code)
  return {code, s.cursor, s.last, s.now, s.time}
end

-- Money that an order locks and that its fill brings: currency names by side.
local function money(s, side)
  if side == 'b' then
    return s.quote, s.base
  end
  return s.base, s.quote
end

-- How many of the oldest to forget: at most a few at once, where `keep` was larger when they were written.
local function surplus(s, index)
  return math.min(redis.call('ZCARD', index) - s.keep, 3)
end

local function forget_oldest(s, index)
  for _ = 1, surplus(s, index) do
    local id = redis.call('ZPOPMIN', index)[1]
    local client = split(redis.call('HGET', ORDERS, id))[2]
    redis.call('HDEL', ORDERS, id)
    if redis.call('HGET', CLIENTS, client) == id then
      redis.call('HDEL', CLIENTS, client)
    end
  end
end

-- Books the end of an order; it must no longer rest.
local function settle(s, order, status, at)
  order[13], order[15] = status, int(at)
  redis.call('HSET', ORDERS, order[1], table.concat(order, '|'))
  local index = status == 'closed' and FILLED or CANCELLED
  redis.call('ZADD', index, order[14], order[1])
  forget_oldest(s, index)
end

local function book_trade(s, order, maker, at)
  local id = int(redis.call('HINCRBY', MARKET, 'next_trade', 1))
  order[16] = id
  local trade = {id, order[1], order[2], order[3], order[17], order[7], order[10], order[11], order[12], maker, int(at),
    int(s.time)}
  redis.call('ZADD', TRADES, id, table.concat(trade, '|'))
  redis.call('ZADD', TIMES, int(at), id)
  s.traded = at
  for _ = 1, surplus(s, TRADES) do
    redis.call('ZPOPMIN', TRADES)
    redis.call('ZPOPMIN', TIMES)
  end
end

local function fill_resting(s, id, at)
  local order = split(redis.call('HGET', ORDERS, id))
  local paid, got = money(s, order[3])
  redis.call('ZREM', order[3] == 'b' and BUYS or SELLS, id)
  redis.call('HINCRBY', BALANCES, 'used:' .. paid, '-' .. order[8])
  redis.call('HINCRBY', BALANCES, 'free:' .. got, order[9])
  order[17] = order[6]
  -- never earlier than the order itself, than an earlier trade, or than an answer in which it was not there yet
  at = math.max(at, tonumber(order[14]), s.traded, s.seen)
  book_trade(s, order, 'm', at)
  settle(s, order, 'closed', at)
end

-- How far along the path open -> nearer extreme -> other extreme -> close a price is first touched.
local function touched_after(candle, side, price)
  if side == 'b' and price >= candle.open or side == 's' and price <= candle.open then
    return 0
  end
  if side == 'b' then
    local down = candle.open - price
    return candle.low_first and down or down + 2 * (candle.high - candle.open)
  end
  local up = price - candle.open
  return candle.low_first and up + 2 * (candle.open - candle.low) or up
end

local function collect(found, candle, side, rows)
  for i = 1, #rows, 2 do
    found[#found + 1] = {id = rows[i], after = touched_after(candle, side, tonumber(rows[i + 1]))}
  end
end

local function earlier(a, b)
  if a.after ~= b.after then
    return a.after < b.after
  end
  return tonumber(a.id) < tonumber(b.id)
end

local function match(s, candle)
  local found = {}
  collect(found, candle, 'b', redis.call('ZRANGEBYSCORE', BUYS, int(candle.low), '+inf', 'WITHSCORES'))
  collect(found, candle, 's', redis.call('ZRANGEBYSCORE', SELLS, '-inf', int(candle.high), 'WITHSCORES'))
  table.sort(found, earlier)
  local first = candle.low_first and candle.open - candle.low or candle.high - candle.open
  local last = candle.low_first and candle.high - candle.close or candle.close - candle.low
  local length = math.max(first + candle.high - candle.low + last, 1)
  for _, hit in ipairs(found) do
    fill_resting(s, hit.id, candle.start + math.floor((candle.finish - candle.start) * hit.after / length))
  end
end

local function best_prices()
  local buy = redis.call('ZREVRANGE', BUYS, 0, 0, 'WITHSCORES')[2]
  local sell = redis.call('ZRANGE', SELLS, 0, 0, 'WITHSCORES')[2]
  return tonumber(buy or '-inf') or -math.huge, tonumber(sell or 'inf') or math.huge
end

local function candle_at(index)
  local n = {}
  for i = 0, 6 do
    n[i + 1] = tonumber(ARGV[6 + index * 7 + i])
  end
  return {time = n[1], open = n[2], high = n[3], low = n[4], close = n[5], start = n[6], finish = n[7],
    low_first = n[2] - n[4] <= n[3] - n[2]}
end

local function advance(s)
  local first, count = tonumber(ARGV[4]), tonumber(ARGV[5])
  local buy, sell = best_prices()
  for index = s.cursor - first, count - 1 do
    local candle = candle_at(index)
    s.time = candle.time
    if candle.low <= buy or candle.high >= sell then
      match(s, candle)
      buy, sell = best_prices()
    end
    s.cursor, s.last = first + index + 1, candle.close
  end
end

-- Brings the symbol up to date; the second value is the final answer where the operation cannot go on.
local function begin()
  local s = load()
  if not s then
    return nil, {NO_MARKET, 0, 0, 0, 0}
  end
  if s.epoch ~= ARGV[2] then
    return nil, answer(s, REANCHORED)
  end
  if s.cursor < tonumber(ARGV[4]) then
    return nil, answer(s, BEHIND)
  end
  advance(s)
  save(s)
  if ARGV[3] ~= '' and s.cursor ~= tonumber(ARGV[3]) then
    return nil, answer(s, MOVED)
  end
  return s, nil
end

-- The usual answer with one line for each result of a request.
local function with_results(s, lines)
  local reply = answer(s, OK)
  for _, line in ipairs(lines) do
    reply[#reply + 1] = line
  end
  return reply
end
