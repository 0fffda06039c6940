#!/bin/sh
# State of an LSF job as Snakemake wants it: running, success or failed.
job=$(printf '%s' "$1" | sed 's/[^0-9]*\([0-9][0-9]*\).*/\1/')
case "$(bjobs -noheader -o stat "$job" 2>/dev/null)" in
    DONE) echo success ;;
    PEND | RUN | PSUSP | USUSP | SSUSP | WAIT | PROV) echo running ;;
    *) echo failed ;;
esac
