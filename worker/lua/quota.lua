-- Token buckets that share a fate: a call is let through when every bucket has room for it.
-- KEYS: the buckets. ARGV: now (seconds), how many are wanted, how many are worth sending at least, then for each bucket
-- its tokens a second and its size. Returns {granted, milliseconds to wait}. A bucket that is shut gives none until then.
-- To want fewer than none gives back.
local now, wanted, least = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local granted, wait, levels = wanted, 0, {}
for place, key in ipairs(KEYS) do
  local rate, size = tonumber(ARGV[2 + 2 * place]), tonumber(ARGV[3 + 2 * place])
  local stored = redis.call('HMGET', key, 'level', 'at', 'shut')
  local level, at = tonumber(stored[1]) or size, tonumber(stored[2]) or now
  level = math.min(size, level + math.max(0, now - at) * rate)
  levels[place] = level
  granted = math.min(granted, math.floor(level))
  local enough = math.min(least, size)
  if level < enough then wait = math.max(wait, (enough - level) / rate) end
  wait = math.max(wait, (tonumber(stored[3]) or now) - now)
end
if wait > 0 then granted = 0 end
for place, key in ipairs(KEYS) do
  local rate, size = tonumber(ARGV[2 + 2 * place]), tonumber(ARGV[3 + 2 * place])
  redis.call('HSET', key, 'level', tostring(levels[place] - granted), 'at', tostring(now))
  redis.call('EXPIRE', key, math.ceil(math.max((size - levels[place] + granted) / rate, wait)) + 60)
end
return {granted, math.ceil(wait * 1000)}
