-- What wrk sends for tests/bench-ingest.sh, and one line of JSON about what came of it.
--   lines LOG BATCH          POST /v1/events with lines of a generated log, each time with another guid, the time of
--                            now, and a user with his address, drawn evenly
--   beacons TOKENS THREADS   GET /i.gif, each credential of the file once

local USERS = 100000
local DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

local threads = {}

function setup(thread)
  thread:set("number", #threads)
  table.insert(threads, thread)
end

accepted, other = 0, 0

-- Two digits of a ULID.
local function pairs_of_digits()
  local pairs = {}
  for a = 1, 32 do
    for b = 1, 32 do
      table.insert(pairs, DIGITS:sub(a, a) .. DIGITS:sub(b, b))
    end
  end
  return pairs
end

local function ulid_time(ms)
  local text = ""
  for _ = 1, 10 do
    local digit = ms % 32
    text = DIGITS:sub(digit + 1, digit + 1) .. text
    ms = (ms - digit) / 32
  end
  return text
end

local function addresses()
  local all = {}
  for _ = 1, USERS do
    local octets = {}
    for _ = 1, 4 do
      table.insert(octets, math.random(100, 199))
    end
    table.insert(all, table.concat(octets, "."))
  end
  return all
end

local function lines_of(log, batch)
  local kinds, rests, users = {}, {}, {}
  for line in io.lines(log) do
    local kind, rest = line:match('^{"guid":"[^"]+","event_time_ms":%d+,(.-)"user_id":"[^"]+","ip":"[^"]+"(.*)$')
    table.insert(kinds, kind)
    table.insert(rests, rest .. "\n")
  end
  for user, address in ipairs(addresses()) do
    table.insert(users, ('"user_id":"u%07d","ip":"%s"'):format(user, address))
  end
  local random, twos, parts = math.random, pairs_of_digits(), {}
  local headers = { ["Content-Type"] = "application/x-ndjson" }
  local next, second, begin, time = random(#kinds), 0, "", ""
  return function()
    local now = os.time()
    if now ~= second then
      second = now
      begin = '{"guid":"' .. ulid_time(now * 1000)
      time = ('","event_time_ms":%d000,'):format(now)
    end
    local at = 0
    for _ = 1, batch do
      parts[at + 1] = begin
      for place = at + 2, at + 9 do
        parts[place] = twos[random(1024)]
      end
      parts[at + 10] = time
      parts[at + 11] = kinds[next]
      parts[at + 12] = users[random(USERS)]
      parts[at + 13] = rests[next]
      at = at + 13
      next = next % #kinds + 1
    end
    return wrk.format("POST", "/v1/events", headers, table.concat(parts, "", 1, at))
  end
end

local function count_lines(status, _, body)
  local took = status == 200 and body:match('"accepted":(%d+)')
  if took then
    accepted = accepted + took
  else
    other = other + 1
  end
end

-- The beacons come through a proxy, each from an address of its own.
local function beacons_of(tokens, step)
  local file, from = io.open(tokens), addresses()
  for _ = 1, number do
    file:read("*l")
  end
  local headers = { ["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0" }
  return function()
    local token = file:read("*l")
    for _ = 2, step do
      file:read("*l")
    end
    headers["X-Forwarded-For"] = from[math.random(USERS)]
    return wrk.format("GET", "/i.gif?t=" .. (token or "none-is-left"), headers)
  end
end

local function count_beacon(_, headers)
  if headers["weir-event"] == "accepted" then
    accepted = accepted + 1
  else
    other = other + 1
  end
end

function init(args)
  math.randomseed(os.time() * 16 + number)
  if args[1] == "lines" then
    request, response = lines_of(args[2], tonumber(args[3])), count_lines
  else
    request, response = beacons_of(args[2], tonumber(args[3])), count_beacon
  end
end

function done(summary, latency)
  local accepted, other, seconds = 0, 0, summary.duration / 1e6
  for _, thread in ipairs(threads) do
    accepted = accepted + thread:get("accepted")
    other = other + thread:get("other")
  end
  local failed = summary.errors
  other = other + failed.connect + failed.read + failed.write + failed.timeout
  local ms = function(share) return latency:percentile(share) / 1e3 end
  print(('\n{"events_per_s":%.0f,"accepted_in_all":%d,"not_accepted":%d,"acknowledgement":'
    .. '{"count":%d,"p50_ms":%.3f,"p99_ms":%.3f,"p999_ms":%.3f,"max_ms":%.3f}}')
    :format(accepted / seconds, accepted, other, summary.requests, ms(50), ms(99), ms(99.9), latency.max / 1e3))
end
