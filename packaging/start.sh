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

# Status 0: the files in directory $1 are as they were unpacked. 1: they are missing or were changed.
# 2: somebody other than this user and root may have put something into it. 3: they could put another
# one into its place. Sets $cache to the directory itself, wherever links on the way to it lead later.
inspect() {
  cache=$1
  [ -h "$1" ] && return 2
  cache=$(cd -P "$1" 2>/dev/null && pwd) || { cache=$1; return 1; }
  list | inspect_listing
}

# The directory, those above it, and the files, by names that have nothing special in them.
list() {
  cd "$cache" || return
  # With these a user may have another form of listing.
  unset BLOCKSIZE BLOCK_SIZE LS_BLOCK_SIZE QUOTING_STYLE TIME_STYLE
  above=
  up=..
  left=$cache
  while [ -n "$left" ]; do
    above="$above $up"
    up=$up/..
    left=${left%/*}
  done
  # shellcheck disable=SC2086
  LC_ALL=C TZ=UTC0 ls -ldn . $above "$id"/* 2>/dev/null
}

inspect_listing() {
  found=
  while read -r mode links user group size month day year path; do
    case $path in
      .)
        is_trusted "$user" "$path" || return 2
        case $mode in
          d????-??-*) ;;
          *) return 2 ;;
        esac
        ;;
      ..*)
        is_trusted "$user" "$path" || return 3
        case $mode in
          d????-??-* | d????????[tT]*) ;;
          # The group that many systems make for each user.
          d????w??-*) [ "$group" = 0 ] || [ "$group" = "$user" ] || return 3 ;;
          *) return 3 ;;
        esac
        ;;
      *)
        case $mode in
          d*) ;;
          *) found="$found${mode%[.+]} $size $month $day $year ${path##*/}
" ;;
        esac
        ;;
    esac
  done
  [ "$found" = "$expected" ]
}

# Whether user number $1, which is this user's or root's, has what is at $2 below $cache. Within a
# user namespace root may have no number of its own, but that of nobody.
is_trusted() {
  [ "$1" = 0 ] || [ -O "$cache/$2" ] && return
  read -r first outside count </proc/self/uid_map
  [ "$1" = 65534 ] && [ "$count" != 4294967295 ]
}

# Whether the files are in directory $1, or could be unpacked there. Sets $reason where not, and
# $status to 2 where the same start would fail again, else to 1.
ready() {
  status=2
  inspect "$1"
  result=$?
  if [ $result = 1 ]; then
    (umask 022 && mkdir -p -m 700 "$1") 2>/dev/null
    inspect "$1"
    result=$?
  fi
  case $result in
    0) return 0 ;;
    1)
      if [ -d "$cache" ] && [ -w "$cache" ]; then
        unpack "$0"
        return
      fi
      reason="the cache directory \"$cache\" cannot be written"
      ;;
    2)
      reason="the cache directory \"$cache\" is not a directory that only this user and root can \
write"
      ;;
    3)
      reason="others than this user and root can replace the cache directory \"$cache\": a \
directory above it is theirs, or they can write it"
      ;;
  esac
  return 1
}

# Removes what those left who were killed while they unpacked. Other hosts and containers may use the
# directory too, so $place says in a name whose process numbers it has.
sweep() {
  for left in "$cache/new.$place."*; do
    process=${left#"$cache/new.$place."}
    [ -d "/proc/${process%.*}" ] || rm -rf "$left"
  done
}

# Unpacks Deno from file $1 with what every host has, and lets it do the rest.
unpack() {
  read -r boot </proc/sys/kernel/random/boot_id
  processes=$(ls -l /proc/self/ns/pid)
  processes=${processes##*[[]}
  place=$boot.${processes%]}
  sweep
  number=0
  new=$cache/new.$place.$$.$number
  until mkdir -m 700 "$new" 2>/dev/null; do
    number=$((number + 1))
    new=$cache/new.$place.$$.$number
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

# What a developer has set for other programs on Deno is not meant for this one.
unset DENO_AUDIT_PERMISSIONS DENO_AUTH_TOKENS DENO_LOG DENO_PERMISSION_BROKER_PATH DENO_V8_FLAGS
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
