-- Purpose: Paper exchange, everything that only reads: brings the symbol up to date, then answers. (After engine.lua.)
--
-- KEYS 1-11 as in engine.lua
-- ARGV from `op`: what to read, then its arguments:
--  ticker   nothing more                                        -> nothing more
--  balance  nothing more                                        -> field, units, field, units, ...
--  open     nothing more                                        -> records of the resting orders
--  order    `i:order id` or `c:client id`                       -> its record, if there is one
--  orders   filled|cancelled|all, since (ms, or empty), limit   -> order records, no order among them promised
--  trades   since (ms, or empty), from id (or empty), limit     -> trade records, oldest first
--  trade_of order id                                            -> its trade record, if there is one
-- Answer: engine answer, then texts as above (code 0 OK; the engine's codes otherwise)
local function add_records(reply, ids)
  for start = 1, #ids, 1000 do
    local some = {unpack(ids, start, math.min(start + 999, #ids))}
    for _, text in ipairs(redis.call('HMGET', ORDERS, unpack(some))) do
      if text then
        reply[#reply + 1] = text
      end
    end
  end
end

local function add_range(reply, index, since, limit)
  if since ~= '' then
    add_records(reply, redis.call('ZRANGEBYSCORE', index, since, '+inf', 'LIMIT', 0, limit))
  else
    add_records(reply, redis.call('ZREVRANGE', index, 0, tonumber(limit) - 1))
  end
end

local function add_open(reply)
  add_records(reply, redis.call('ZRANGE', BUYS, 0, -1))
  add_records(reply, redis.call('ZRANGE', SELLS, 0, -1))
end

local reading = {}

function reading.ticker()
end

function reading.balance(reply)
  for _, text in ipairs(redis.call('HGETALL', BALANCES)) do
    reply[#reply + 1] = text
  end
end

function reading.open(reply)
  add_open(reply)
end

function reading.order(reply, reference)
  local name = string.sub(reference, 3)
  local id = string.sub(reference, 1, 1) == 'i' and name or redis.call('HGET', CLIENTS, name)
  if id then
    add_records(reply, {id})
  end
end

function reading.orders(reply, which, since, limit)
  if which ~= 'cancelled' then
    add_range(reply, FILLED, since, limit)
  end
  if which ~= 'filled' then
    add_range(reply, CANCELLED, since, limit)
  end
  if which == 'all' then
    add_open(reply)
  end
end

function reading.trades(reply, since, from_id, limit)
  if from_id == '' and since ~= '' then
    from_id = redis.call('ZRANGEBYSCORE', TIMES, since, '+inf', 'LIMIT', 0, 1)[1]
    if not from_id then
      return
    end
  end
  local rows
  if from_id ~= '' then
    rows = redis.call('ZRANGEBYSCORE', TRADES, from_id, '+inf', 'LIMIT', 0, limit)
  else
    rows = redis.call('ZRANGE', TRADES, -tonumber(limit), -1)
  end
  for _, text in ipairs(rows) do
    reply[#reply + 1] = text
  end
end

function reading.trade_of(reply, id)
  local text = redis.call('HGET', ORDERS, id)
  local trade = text and split(text)[16] or ''
  if trade ~= '' then
    reply[#reply + 1] = redis.call('ZRANGEBYSCORE', TRADES, trade, trade)[1]
  end
end

local s, stop = begin()
if not s then
  return stop
end
local reply = answer(s, OK)
reading[ARGV[op]](reply, ARGV[op + 1], ARGV[op + 2], ARGV[op + 3])
return reply
