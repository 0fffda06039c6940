"""How fast this package is beside others: run from the repository, as `python -m workflows.benchmarks.ct_projectors`."""
