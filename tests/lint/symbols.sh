#!/bin/sh
# symbols.sh LIB ALLOW - fails if the static library LIB needs a symbol that neither LIB itself
# defines nor the file ALLOW lets pass.  This is how "pure" is checked: a clock, a socket or a malloc
# behind the core's or an adapter's back shows up here.  ALLOW holds one shell pattern a line;
# # begins a comment.
set -eu
[ $# -eq 2 ] || { echo "usage: $0 LIB ALLOW" >&2; exit 2; }
lib=$1
allow=$2
[ -r "$lib" ] && [ -r "$allow" ] || { echo "$0: cannot read $lib or $allow" >&2; exit 2; }

# What compilers add by themselves: position independence, stack protection, sanitizers, coverage.
builtin='_GLOBAL_OFFSET_TABLE_ __stack_chk_fail __gcov_*'
builtin="$builtin __asan_* __ubsan_* __tsan_* __sanitizer_* __sancov_*"
patterns="$builtin $(sed 's/#.*//' "$allow" | tr '\n' ' ')"

defined=$(nm -g --defined-only "$lib" | awk 'NF == 3 { print $3 }' | sort -u)
needed=$(nm -u "$lib" | awk '$1 == "U" || $1 == "w" { print $2 }' | sort -u)
[ -n "$defined" ] || { echo "$0: $lib defines nothing" >&2; exit 2; }

set -f
bad=0
for symbol in $needed; do
    ok=0
    for pattern in $patterns; do
        case $symbol in $pattern) ok=1; break ;; esac
    done
    [ $ok -eq 1 ] && continue
    printf '%s\n' "$defined" | grep -qxF "$symbol" && continue
    objects=$(nm -A -u "$lib" | awk -v s="$symbol" '$NF == s { split($1, part, ":"); print part[2] }')
    echo "$lib: $symbol is not allowed by $allow; needed by:" $objects
    bad=1
done
exit $bad
