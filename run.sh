#!/usr/bin/env bash
# One room, live, on this machine: a broker, an encoder and a collector for the room `demo`.
# `make run` builds what this needs and calls it. Ctrl-C stops everything.
#
#   SOURCE=talk.mp4 ./run.sh    play a video file, looped
#   SOURCE=test     ./run.sh    the test picture, even if a capture device is there
#   ./run.sh                    the first capture device; the test picture if there is none
set -euo pipefail

bin=${BACKROW_BIN:-target/release}
room=demo
source_wanted=${SOURCE:-}

say() { printf '%s\n' "$*"; }
fail() { printf 'backrow: %s\n' "$*" >&2; exit 1; }

for program in "$bin/encoder" "$bin/collector"; do
  [ -x "$program" ] || fail "$program is missing: run \`make run\`, which builds it"
done
command -v mosquitto >/dev/null || fail "mosquitto is missing: run \`make run\`, which installs it"

work=$(mktemp -d -t backrow.XXXX)
declare -A pid=()
started=()

# Stops in the order of the stream, so that the last segment still arrives.
stop() {
  trap - EXIT INT TERM HUP
  local i
  for ((i = ${#started[@]} - 1; i >= 0; i--)); do
    kill -TERM "${pid[${started[i]}]}" 2>/dev/null || true
    wait "${pid[${started[i]}]}" 2>/dev/null || true
  done
  rm -rf "$work"
}
trap stop EXIT
trap 'stop; exit 130' INT
trap 'stop; exit 143' TERM HUP

# A child of its own session, so that Ctrl-C reaches this script alone and it stops
# the others in order; each dies with this script whatever happens to it.
start() { # name command...
  local name=$1
  shift
  setsid setpriv --pdeathsig TERM "$@" >"$work/$name.log" 2>&1 &
  pid[$name]=$!
  started+=("$name")
}

taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# The usual port if it is free, else the next free one.
port() {
  local p=$1
  while taken "$p"; do
    p=$((p + 1))
    [ "$p" -lt $(($1 + 200)) ] || fail "no free port from $1 to $p; stop what uses them"
  done
  say "$p"
}

# Waits for a condition, and gives up when the process behind it has died.
await() { # seconds, name, command...
  local deadline=$((SECONDS + $1)) name=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    kill -0 "${pid[$name]}" 2>/dev/null || { tail -n 20 "$work/$name.log" >&2; fail "the $name stopped; its last words are above"; }
    [ $SECONDS -lt $deadline ] || { tail -n 20 "$work/$name.log" >&2; fail "the $name did not get ready; its last words are above"; }
    sleep 0.2
  done
}

token=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
mqtt_port=$(port 1883)
http_port=$(port 8080)
rtmp_port=$(port 1935)

# --- broker
cat >"$work/mosquitto.conf" <<EOF
listener $mqtt_port 127.0.0.1
allow_anonymous true
persistence false
EOF
start mosquitto mosquitto -c "$work/mosquitto.conf"
await 10 mosquitto taken "$mqtt_port"

# --- encoder
mkdir "$work/archive"
archive=${ARCHIVE:-$work/archive}
cat >"$work/encoder.toml" <<EOF
name = "encoder"
control = "control"

[listen]
http = "0.0.0.0:$http_port"
rtmp = "127.0.0.1:$rtmp_port"

[archive]
path = "$archive"

[[room]]
name = "$room"
title = "Demo room"
token = "$token"

[mqtt]
url = "mqtt://127.0.0.1:$mqtt_port"
EOF
start encoder "$bin/encoder" --config "$work/encoder.toml"
base="http://127.0.0.1:$http_port"
await 20 encoder curl -fs "$base/api/v1/rooms"

# --- source
case "$source_wanted" in
  "")
    if choice=$("$bin/collector" devices --json 2>/dev/null) && grep -q '"source": "' <<<"$choice"; then
      source_toml='kind = "auto"'
      source_text="the capture device it found (collector devices says which)"
    else
      source_toml='kind = "test"'
      source_text="the test picture (no capture device found; SOURCE=video.mp4 plays a file)"
    fi
    ;;
  test)
    source_toml='kind = "test"'
    source_text="the test picture"
    ;;
  *)
    [ -r "$source_wanted" ] || fail "SOURCE=$source_wanted: no such file, or it cannot be read"
    path=$(realpath "$source_wanted")
    source_toml="kind = \"file\"
path = \"${path//\"/\\\"}\""
    source_text="$path, looped"
    ;;
esac

# --- collector
cat >"$work/site.toml" <<EOF
room = "$room"
device = "collector"

[encoder]
url = "$base"
token = "$token"

[source]
$source_toml

[mqtt]
url = "mqtt://127.0.0.1:$mqtt_port"
EOF
start collector "$bin/collector" --config "$work/site.toml"

say "Waiting until the room is playable …"
playable() { curl -fs "$base/$room/hls/index.m3u8" | grep -q index.m3u8; }
await 60 collector playable

cat <<EOF

  Backrow is live. Source: $source_text

  Watch       $base/$room/
  All rooms   $base/
  Health      $base/healthz   $base/api/v1/rooms   $base/metrics

  Try next
    Any player        ffplay $base/$room/webcast-high.flv
    Sound only        ffplay $base/$room/audio-only.mp3
    Moods and events  mosquitto_sub -p $mqtt_port -v -t 'backrow/#' -T 'backrow/+/preview'
    The recording     curl -H 'Authorization: Bearer $token' $base/$room/archive/
    From OBS          server rtmp://127.0.0.1:$rtmp_port/live   key $room?token=$token
                      (the collector holds the room: the second publisher is refused)

  Logs are in $work until you stop. Ctrl-C stops everything.

EOF

# Whoever dies first ends the run; the daemons restart their own workers.
wait -n "${pid[@]}" || true
for name in "${started[@]}"; do
  if ! kill -0 "${pid[$name]}" 2>/dev/null; then
    tail -n 20 "$work/$name.log" >&2
    fail "the $name stopped; its last words are above"
  fi
done
