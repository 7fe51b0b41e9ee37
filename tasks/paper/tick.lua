-- Purpose: Paper exchange on live prices: one polled price becomes a small candle from the last price to it. (After engine.lua.)
--
-- KEYS 1-11 as in engine.lua
-- ARGV from `op`: price (units), time of the poll (ms)
-- Answer: engine answer (code 0 OK, also where the poll is not newer than the newest; the engine's codes otherwise)
local s, stop = begin()
if not s then
  return stop
end
local price, polled = tonumber(ARGV[op]), tonumber(ARGV[op + 1])
if polled > s.time then
  local candle = {time = polled, open = s.last, high = math.max(s.last, price), low = math.min(s.last, price),
    close = price, start = math.min(s.time, polled), finish = polled, low_first = price < s.last}
  s.time = polled
  match(s, candle)
  s.cursor, s.last = s.cursor + 1, price
  save(s)
end
return answer(s, OK)
