"""Batch reconstruction with Snakemake: the Snakefile beside this file, its settings and its summary."""
