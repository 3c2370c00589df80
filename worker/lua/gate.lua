-- The fair gate of one lane: every operation on it, each atomic. It knows ids, tenants and envelopes; no clock.
--
-- KEYS[1]  the list that Celery's workers pop from: LPUSH here, BRPOP there
-- ARGV     operation, prefix of the lane's keys, now, stale (entries in flight from before are given up),
--          tenant cap (0: none), window while no worker has announced itself; then what the operation takes
--
-- A tenant with waiting jobs stands in exactly one place: in RING, or in WAKE. Every step is O(1) a message
-- (O(log n) where a sorted set is touched), except pause and forget_tenant, which search the ring.

local call = redis.call
local queue, at, now, stale, cap = KEYS[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local FIRST = 7
local MOST = 100 -- entries that one call tidies up: a bound on its time

local BODY = at .. 'body'       -- hash: waiting job -> envelope; a job is waiting when it is here
local RING = at .. 'ring'       -- list: tenants whose turn comes, next one first
local WAKE = at .. 'wake'       -- zset: tenants that must not be served -> when they may; +inf: when a job of theirs ends
local WEIGHT = at .. 'weight'   -- hash: tenant -> jobs a visit, where that is not 1
local CREDIT = at .. 'credit'   -- hash: tenant -> what is left of a visit that was cut short by a full window
local FLIGHT = at .. 'flight'   -- zset: job moved to Celery -> when; once claimed: when its lease ends
local OWNER = at .. 'owner'     -- hash: job in flight -> tenant
local FLYING = at .. 'flying'   -- hash: tenant -> number of jobs in flight
local WORKERS = at .. 'workers' -- hash: worker -> "concurrency expiry"
local WINDOW = at .. 'window'   -- how long Celery's list may become

local function waiting(tenant) -- list: the tenant's waiting jobs, oldest first; forgotten ones are still in it
  return at .. 'waiting:' .. tenant
end

local function at_cap(tenant)
  return cap > 0 and tonumber(call('HGET', FLYING, tenant) or 0) >= cap
end

local function rouse(tenant)
  call('ZREM', WAKE, tenant)
  if call('EXISTS', waiting(tenant)) == 1 then call('RPUSH', RING, tenant) end
end

local function take_off(job, tenant, envelope)
  call('LPUSH', queue, envelope)
  if call('ZADD', FLIGHT, now, job) == 1 then -- else it was sent before, and counts once
    call('HSET', OWNER, job, tenant)
    call('HINCRBY', FLYING, tenant, 1)
  end
end

local function land(job, tenant)
  call('ZREM', FLIGHT, job)
  call('HDEL', OWNER, job)
  if call('HINCRBY', FLYING, tenant, -1) <= 0 then call('HDEL', FLYING, tenant) end
  if call('ZSCORE', WAKE, tenant) == 'inf' then rouse(tenant) end
end

-- What time alone brings: jobs in flight that nobody answers for any more, tenants whose pause is over.
local function tidy()
  for _, job in ipairs(call('ZRANGEBYSCORE', FLIGHT, '-inf', '(' .. stale, 'LIMIT', 0, MOST)) do
    land(job, call('HGET', OWNER, job) or '')
  end
  for _, tenant in ipairs(call('ZRANGEBYSCORE', WAKE, '-inf', now, 'LIMIT', 0, MOST)) do rouse(tenant) end
end

-- One visit: as many jobs as the tenant's weight, the room and its cap allow; then the tenant goes where it belongs.
local function visit(tenant, room)
  local list, moved = waiting(tenant), 0
  local left = call('HGET', CREDIT, tenant)
  local credit = tonumber(left or call('HGET', WEIGHT, tenant) or 1)
  while moved < credit and moved < room and not at_cap(tenant) do
    local job = call('LPOP', list)
    if not job then break end
    local envelope = call('HGET', BODY, job)
    if envelope then -- else it was forgotten while it waited
      call('HDEL', BODY, job)
      take_off(job, tenant, envelope)
      moved = moved + 1
    end
  end
  if left then call('HDEL', CREDIT, tenant) end
  if call('EXISTS', list) == 0 then return moved end
  if at_cap(tenant) then
    call('ZADD', WAKE, '+inf', tenant)
  elseif moved < credit then -- the room ended, not the visit: it goes on when there is room again
    call('HSET', CREDIT, tenant, credit - moved)
    call('LPUSH', RING, tenant)
  else
    call('RPUSH', RING, tenant)
  end
  return moved
end

local function window()
  return tonumber(call('GET', WINDOW) or ARGV[6])
end

-- Serve the ring until the window is full or the ring is empty. It ends: a visit that moves nothing leaves the ring.
local function refill()
  tidy()
  local room, moved = window() - call('LLEN', queue), 0
  while moved < room do
    local tenant = call('LPOP', RING)
    if not tenant then break end
    moved = moved + visit(tenant, room - moved)
  end
  return moved, room - moved
end

local operation = {}

function operation.move()
  return (refill())
end

-- job, tenant, envelope, ... -> how many were not waiting already
function operation.publish()
  local _, room = refill() -- so that room now means: no tenant is waiting for a turn
  local accepted = 0
  for i = FIRST, #ARGV, 3 do
    local job, tenant, envelope = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    if call('HEXISTS', BODY, job) == 0 then
      accepted = accepted + 1
      local asleep = call('ZSCORE', WAKE, tenant)
      if room > 0 and not asleep and not at_cap(tenant) then
        take_off(job, tenant, envelope)
        room = room - 1
      else
        call('HSET', BODY, job, envelope)
        -- The first in an empty list brings its tenant into the ring, where a visit finds out about the cap.
        if call('RPUSH', waiting(tenant), job) == 1 and not asleep then call('RPUSH', RING, tenant) end
      end
    end
  end
  return accepted
end

-- job, tenant, ...: a tenant ends its own jobs only
function operation.finish()
  for i = FIRST, #ARGV, 2 do
    if call('HGET', OWNER, ARGV[i]) == ARGV[i + 1] then land(ARGV[i], ARGV[i + 1]) end
  end
  return (refill())
end

-- before, job, ... -> positions (from 0) of those that do not wait here, are not in Celery's list, and were not sent
-- since `before` (or claimed with a lease that ends after it)
function operation.missing()
  local before, lost, listed = tonumber(ARGV[FIRST]), {}, nil
  for i = FIRST + 1, #ARGV do
    local sent = call('ZSCORE', FLIGHT, ARGV[i])
    if call('HEXISTS', BODY, ARGV[i]) == 0 and not (sent and tonumber(sent) >= before) then
      if not listed then -- only now: it reads the whole list, which is as short as the window
        listed = {}
        for _, message in ipairs(call('LRANGE', queue, 0, -1)) do
          local job = string.match(message, '"correlation_id": ?"([^"]*)"')
          if job then listed[job] = true end
        end
      end
      if not listed[ARGV[i]] then lost[#lost + 1] = i - FIRST - 1 end
    end
  end
  return lost
end

-- tenant, until
function operation.pause()
  call('ZADD', WAKE, ARGV[FIRST + 1], ARGV[FIRST])
  return call('LREM', RING, 0, ARGV[FIRST])
end

-- tenant -> how many of its jobs were waiting; what is in flight ends by itself
function operation.forget_tenant()
  local tenant = ARGV[FIRST]
  local forgotten = 0
  for _, job in ipairs(call('LRANGE', waiting(tenant), 0, -1)) do forgotten = forgotten + call('HDEL', BODY, job) end
  call('DEL', waiting(tenant))
  call('LREM', RING, 0, tenant)
  call('ZREM', WAKE, tenant)
  call('HDEL', WEIGHT, tenant)
  call('HDEL', CREDIT, tenant)
  return forgotten
end

-- worker, concurrency, expiry -> the window: twice what the live workers can do at once
function operation.announce()
  call('HSET', WORKERS, ARGV[FIRST], ARGV[FIRST + 1] .. ' ' .. ARGV[FIRST + 2])
  local workers, total = call('HGETALL', WORKERS), 0
  for i = 1, #workers, 2 do
    local concurrency, expiry = string.match(workers[i + 1], '^(%d+) (.+)$')
    if concurrency == '0' or tonumber(expiry) <= tonumber(now) then
      call('HDEL', WORKERS, workers[i])
    else
      total = total + tonumber(concurrency)
    end
  end
  if total > 0 then call('SET', WINDOW, 2 * total) else call('DEL', WINDOW) end
  return window()
end

-- -> jobs waiting, tenants waiting, jobs in flight, length of Celery's list, window
function operation.backlog()
  local tenants = call('LLEN', RING)
  for _, tenant in ipairs(call('ZRANGE', WAKE, 0, -1)) do tenants = tenants + call('EXISTS', waiting(tenant)) end
  return {call('HLEN', BODY), tenants, call('ZCOUNT', FLIGHT, stale, '+inf'), call('LLEN', queue), window()}
end

return operation[ARGV[1]]()
