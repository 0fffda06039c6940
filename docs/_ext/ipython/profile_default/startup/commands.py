"""`%%bash` of the tutorials: what the commands said comes whole, and a command that fails stops the notebook."""

import subprocess

from IPython.core.magic import register_cell_magic


@register_cell_magic
def bash(line, cell):
    """Run the lines of the cell; IPython's own shows outputs in pieces of 100 bytes, each on a line of its own."""
    done = subprocess.run(["bash", "-ec", cell], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(done.stdout, end="")
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}")
