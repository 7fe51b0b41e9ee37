-- Purpose: shared part, placed before every script that names _outbox.lua: append a record to the outbox.
-- `archive(outbox, kind, body)`: `kind` as in tasks/base/outbox.py. The archiver moves it to the history database.
local function archive(outbox, kind, body)
  redis.call('XADD', outbox, '*', 'kind', kind, 'body', body)
end
