#!/bin/sh
# Cancel LSF jobs.
for line; do
    bkill "$(printf '%s' "$line" | sed 's/[^0-9]*\([0-9][0-9]*\).*/\1/')"
done
