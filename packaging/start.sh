#!/bin/sh
# rustre in one file: this script, and behind it the program and the Deno that runs it, compressed.
# The first start unpacks them into a directory of its user. Every start compares what `ls` says of
# the unpacked files with what it should say, and runs them. It needs sh, ls, mkdir, dd, gzip, chmod,
# rm and, where no other directory serves, id.

id='@ID@'
program_block='@PROGRAM_BLOCK@'
program_blocks='@PROGRAM_BLOCKS@'
deno_block='@DENO_BLOCK@'
archive='@ARCHIVE@'
block_bytes='@BLOCK_BYTES@'
platform='@PLATFORM@'
flags='@FLAGS@'
expected='@EXPECTED@
'

fail() {
  echo "rustre: Cannot start: $1" >&2
  exit "$2"
}

# Sets $asked to the cache directory that the command line or the environment names, if any. The
# program itself ignores the flag.
read_cache_directory() {
  asked=${RUSTRE_CACHE_DIR-}
  previous=
  for word do
    [ "$previous" = --cache-dir ] && asked=$word
    case $word in
      --) break ;;
      --cache-dir=*) asked=${word#*=} ;;
    esac
    previous=$word
  done
  case $asked in
    '' | /*) ;;
    *) asked=$PWD/$asked ;;
  esac
}

# Status 0: the files in $cache are as they were unpacked. 1: they are missing or were changed.
# 2: somebody other than this user and root may have put something into $cache.
inspect() {
  LC_ALL=C TZ=UTC0 ls -ldn "$cache" "$cache/$id"/* 2>/dev/null | inspect_listing
}

inspect_listing() {
  read -r mode links user rest || return 1
  [ -O "$cache" ] || [ "$user" = 0 ] || return 2
  case $mode in
    d????-??-*) ;;
    *) return 2 ;;
  esac
  found=
  while read -r mode links user group size month day year path; do
    case $mode in
      d*) ;;
      *) found="$found${mode%[.+]} $size $month $day $year ${path##*/}
" ;;
    esac
  done
  [ "$found" = "$expected" ]
}

# Whether the files are in directory $1, or could be unpacked there. Sets $reason where not, and
# $status to 2 where the same start would fail again, else to 1.
ready() {
  cache=$1
  status=2
  inspect
  case $? in
    0) return 0 ;;
    2) refuse; return 1 ;;
  esac
  mkdir -p -m 700 "$cache" 2>/dev/null
  if ! [ -d "$cache" ] || ! [ -w "$cache" ]; then
    reason="the cache directory \"$cache\" cannot be written"
    return 1
  fi
  inspect
  case $? in
    2) refuse; return 1 ;;
  esac
  unpack "$0"
}

refuse() {
  reason="the cache directory \"$cache\" is not a directory that only this user and root can write"
}

# Unpacks Deno from file $1 with what every host has, and lets it do the rest.
unpack() {
  number=0
  new=$cache/new.$$.$number
  until mkdir -m 700 "$new" 2>/dev/null; do
    number=$((number + 1))
    new=$cache/new.$$.$number
    if [ $number = 100 ]; then
      reason="the cache directory \"$cache\" cannot be written"
      return 1
    fi
  done
  trap 'rm -rf "$new"' EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  details=$(unpack_into "$1" 2>&1)
  result=$?
  rm -rf "$new"
  trap - EXIT HUP INT TERM
  status=1
  case $result in
    0) return 0 ;;
    3) reason="\"$1\" cannot be unpacked into \"$cache\", it is damaged or the disk is full: $details" ;;
    126 | 127)
      reason="what is in \"$cache\" cannot be run, it takes $platform and a file system that is \
not mounted noexec: $details"
      status=2
      ;;
    *) reason=${details:-"unpacking into \"$cache\" ended with status $result"} ;;
  esac
  return 1
}

unpack_into() {
  part "$1" "$deno_block" >"$new/rustre" || return 3
  part "$1" "$program_block" "count=$program_blocks" >"$new/unpack.js" || return 3
  chmod 700 "$new/rustre"
  # shellcheck disable=SC2086
  DENO_DIR=$new/unpack DENO_NO_UPDATE_CHECK=1 NO_COLOR=1 \
    "$new/rustre" run $flags "$new/unpack.js" "$1" "$archive" "$cache" "$new" "$id"
}

# Writes what file $1 has from block $2 on to standard output, uncompressed and checked.
part() {
  dd "if=$1" "bs=$block_bytes" "skip=$2" ${3+"$3"} 2>/dev/null | gzip -dc
}

# Calls ready() with each directory that serves where none is asked for, until one is.
find_directory() {
  case ${XDG_CACHE_HOME-} in
    /*) ready "$XDG_CACHE_HOME/rustre" && return ;;
  esac
  # Somebody else's home, as with sudo, is to stay as it is.
  case ${HOME-} in
    /?*) [ -O "$HOME" ] && ready "$HOME/.cache/rustre" && return ;;
  esac
  ready /var/cache/rustre && return
  ready "${TMPDIR:-/tmp}/rustre-$(id -u)"
}

# Where the environment is empty it stays so.
PATH=${PATH-/usr/sbin:/usr/bin:/sbin:/bin}
[ -e /proc/self/exe ] || fail "there is no /proc" 1
reason=
read_cache_directory "$@"
if [ -n "$asked" ]; then
  ready "$asked" || fail "$reason" "$status"
else
  find_directory || fail "$reason; --cache-dir or RUSTRE_CACHE_DIR names another one" "$status"
fi
export DENO_DIR="$cache/$id/state/deno" DENO_NO_UPDATE_CHECK=1
# shellcheck disable=SC2086
exec "$cache/$id/rustre" run $flags --v8-flags=--max-semi-space-size=4 \
  "$cache/$id/rustre.js" "$@"
