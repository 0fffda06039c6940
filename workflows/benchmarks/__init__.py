"""How fast this package is beside others: `python -m workflows.benchmarks.ct_projectors`, in the repository."""
