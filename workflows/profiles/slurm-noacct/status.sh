#!/bin/sh
# State of a Slurm job as Snakemake wants it: running, success or failed.  A job that slurmctld has forgotten (MinJobAge,
# five minutes as a rule) has failed as far as anybody can tell; Snakemake asks far more often than that.
state=$(scontrol -o show job "$1" 2>/dev/null | sed -n 's/.*JobState=\([A-Z_]*\).*/\1/p')
case "$state" in
    COMPLETED) echo success ;;
    PENDING | CONFIGURING | RUNNING | COMPLETING | SUSPENDED | REQUEUED | RESIZING | STAGE_OUT) echo running ;;
    *) echo failed ;;
esac
