#!/bin/sh
# State of a PBS job as Snakemake wants it: running, success or failed.  -x also finds those that have ended.
told=$(qstat -x -f "$1" 2>/dev/null)
state=$(printf '%s\n' "$told" | sed -n 's/^ *job_state = //p')
code=$(printf '%s\n' "$told" | sed -n 's/^ *Exit_status = //p')
case "$state" in
    F | C) [ "${code:-1}" = 0 ] && echo success || echo failed ;;
    '' | X) echo failed ;;
    *) echo running ;;
esac
