# Runs on a machine while `backrow push` works with it, under any POSIX shell, as root. It takes
# orders from its standard input, one a line, and answers each with "ok", "failed WHY" or, if all is
# as before, "unchanged WHY".
#
#   look PATH...  what is in these files: "file PATH SIZE" and the bytes, or "none PATH"
#   put BYTES     takes a tar archive: a manifest, the files by number, what is to be reloaded
#   swap          puts these files in their places, and reloads; from here they are on trial
#   keep          the trial went well
#   back          the trial did not: what was there before comes back
#   active UNIT   whether systemd says that it is well
#
# If the other side is gone while the files are on trial, they go back. If this shell itself dies,
# even in the middle, the folder below says what there was before, and the next push goes back.
# There is no single quote in this file: it travels in single quotes.
set -u
umask 077
LC_ALL=C
export LC_ALL
# The other side may be gone when there is still something to put right.
trap "" HUP INT PIPE
state=$1
limit=$2
log=""

say() { printf "%s\n" "$*" 2>/dev/null; }

# One line of what a command said.
short() { printf "%s" "$log" | tr "\n\t" "  " | head -c 300; }

answer() {
  if [ "$1" = 0 ]; then say ok; else say "failed $(short)"; fi
}

# Puts a copy beside its place: source, place, mode, group.
beside() {
  folder=${2%/*}
  [ -d "$folder" ] || (umask 022 && mkdir -p "$folder") || return 1
  new="$folder/.${2##*/}.backrow-new"
  cp "$1" "$new" && chmod "$3" "$new" || return 1
  # A group that this machine does not have: then the daemon runs as root here.
  [ "$4" = - ] || chgrp "$4" "$new" 2>/dev/null || true
}

unfinished() {
  while read -r sum mode group path view; do
    rm -f "${path%/*}/.${path##*/}.backrow-new"
  done <"$1"
}

take() {
  rm -rf "$state/new" && mkdir -p "$state/new" && cd "$state/new" && tar -xf - || return 1
  n=0
  while read -r sum mode group path view; do
    n=$((n + 1))
    echo "$sum  $n"
  done <manifest | sha256sum -c >/dev/null 2>&1 || { echo "the files did not arrive whole"; return 1; }
  sync
}

# What there is now, to go back to. It is complete, on the disk, before anything is changed.
remember() {
  old="$state/old.part"
  rm -rf "$old" && mkdir "$old" && : >"$old/list" || return 1
  seen=" "
  n=0
  for manifest in "$state/new/manifest" "$state/now/manifest"; do
    [ -f "$manifest" ] || continue
    while read -r sum mode group path view; do
      case $seen in *" $path "*) continue ;; esac
      seen="$seen$path "
      if [ -f "$view" ]; then
        n=$((n + 1))
        cp -p "$view" "$old/$n" && echo "$n $path" >>"$old/list" || return 1
      else
        echo "0 $path" >>"$old/list" || return 1
      fi
    done <"$manifest"
  done
  if [ -f "$state/now/manifest" ]; then
    cp "$state/now/manifest" "$old/manifest" || return 1
    cp "$state/now/revision" "$old/revision" || return 1
  fi
  cp "$state/new/reload" "$old/reload" && sync && rm -rf "$state/old" && mv "$old" "$state/old"
}

reload() {
  bad=0
  while read -r how what; do
    case $how in
      unit) systemctl restart "$what" </dev/null 9>&- || bad=1 ;;
      run) sh -c "$what" </dev/null 9>&- || bad=1 ;;
    esac
  done <"$1"
  return $bad
}

swap() {
  remember || { rm -rf "$state/old.part" "$state/new"; return 1; }
  n=0
  whole=1
  while read -r sum mode group path view; do
    n=$((n + 1))
    beside "$state/new/$n" "$path" "$mode" "$group" || { whole=0; break; }
  done <"$state/new/manifest"
  if [ $whole = 0 ] || ! sync || ! { cp "$state/new/revision" "$state/trial.part" && mv "$state/trial.part" "$state/trial"; }; then
    unfinished "$state/new/manifest"
    rm -rf "$state/new" "$state/trial.part" "$state/trial"
    return 1
  fi
  sync
  pushed=" "
  while read -r sum mode group path view; do
    mv -f "${path%/*}/.${path##*/}.backrow-new" "$path" || return 1
    pushed="$pushed$path "
  done <"$state/new/manifest"
  # What was pushed before and is not any more.
  if [ -f "$state/now/manifest" ]; then
    while read -r sum mode group path view; do
      case $pushed in *" $path "*) ;; *) rm -f "$path" ;; esac
    done <"$state/now/manifest"
  fi
  rm -rf "$state/now" && mkdir "$state/now" || return 1
  mv "$state/new/manifest" "$state/new/revision" "$state/now/" || return 1
  sync
  reload "$state/new/reload"
}

back() {
  [ -f "$state/old/list" ] || { echo "there is nothing to go back to"; return 1; }
  # Makes room on a disk that is full.
  rm -rf "$state/new"
  while read -r n path; do
    folder=${path%/*}
    [ "$n" = 0 ] || cp -p "$state/old/$n" "$folder/.${path##*/}.backrow-new" || return 1
  done <"$state/old/list"
  sync
  while read -r n path; do
    if [ "$n" = 0 ]; then rm -f "$path"; else mv -f "${path%/*}/.${path##*/}.backrow-new" "$path" || return 1; fi
  done <"$state/old/list"
  rm -rf "$state/now"
  if [ -f "$state/old/manifest" ]; then
    mkdir "$state/now" && cp "$state/old/manifest" "$state/old/revision" "$state/now/" || return 1
  fi
  sync
  rm -f "$state/trial"
  sync
  reload "$state/old/reload"
}

look() {
  for path in "$@"; do
    if [ -f "$path" ]; then
      size=$(wc -c <"$path")
      say "file $path $((size))"
      head -c $((size)) "$path" 2>/dev/null
    else
      say "none $path"
    fi
  done
}

one() { [ -f "$1" ] && head -n 1 "$1" || echo -; }

give_up() {
  if [ -f "$state/trial" ]; then back >/dev/null 2>&1; fi
  exit 1
}

mkdir -p "$state" 2>/dev/null
if command -v flock >/dev/null 2>&1 && (: >>"$state/lock") 2>/dev/null; then
  exec 9>>"$state/lock"
  flock -n 9 || { say "busy another push works with this machine"; exit 1; }
fi
# A connection that died without a word must not leave files on trial for ever.
trap give_up TERM
(sleep "$limit"; kill -TERM $$) </dev/null >/dev/null 2>&1 9>&- &
alarm=$!
say "backrow-agent 1 $(one "$state/now/revision") $(one "$state/trial")"
while read -r order rest; do
  case $order in
    look)
      # shellcheck disable=SC2086 # paths without spaces, as many as there are
      look $rest
      say ok
      ;;
    put)
      # To the byte: what follows is the next order. And all of it, also when it is not wanted.
      log=$(dd bs=1 count="$rest" 2>/dev/null | { take 2>&1; bad=$?; cat >/dev/null; exit $bad; })
      bad=$?
      [ $bad = 0 ] || rm -rf "$state/new"
      answer $bad
      ;;
    swap)
      if log=$(swap 2>&1); then say ok
      elif [ -e "$state/trial" ]; then say "failed $(short)"
      else say "unchanged $(short)"
      fi
      ;;
    back) log=$(back 2>&1); answer $? ;;
    keep) log=$( (rm -f "$state/trial" && rm -rf "$state/new" && sync) 2>&1); answer $? ;;
    active) log=$(systemctl is-active "$rest" 2>&1); answer $? ;;
    *) say "failed $order is no order" ;;
  esac
done
kill $alarm 2>/dev/null
give_up
