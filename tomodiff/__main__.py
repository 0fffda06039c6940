"""`python -m tomodiff` is the command `tomodiff`."""

from __future__ import annotations

import sys

from tomodiff.cli.main import main

sys.exit(main())
