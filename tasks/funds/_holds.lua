-- Purpose: shared part, placed before every script that names _holds.lua: is the pot held stopped now?
-- `held(text)`: `text` is the pot's field `holds`, `owner=until` pairs separated by spaces (until: ms, Redis's clock).
-- Returns true while one of them is in force. The hold of a killed owner expires.
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function held(text)
  if not text or text == '' then return false end
  local now = now_ms()
  for till in string.gmatch(text, '=(%d+)') do
    if tonumber(till) > now then return true end
  end
  return false
end
