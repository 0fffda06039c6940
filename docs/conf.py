"""How Sphinx builds the documentation (`make docs`): tutorials and examples run, and any warning stops it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_ext")]
# Notebooks call `tomodiff` of this environment, find the samples of this checkout, and draw without a screen.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
os.environ["PYTHONPATH"] = str(HERE.parent)
os.environ["DATASETS"] = str(HERE.parent / "datasets")
os.environ["IPYTHONDIR"] = str(HERE / "_ext" / "ipython")

import tomodiff  # noqa: E402

project = "tomodiff"
author = "The tomodiff developers"
copyright = "The tomodiff developers, BSD-3-Clause"
version = release = tomodiff.__version__

extensions = [
    "myst_nb",
    "sphinx_gallery.gen_gallery",
    "sphinx_design",
    "sphinx.ext.mathjax",
    "generated",
]
root_doc = "index"
exclude_patterns = ["_build", "_ext", "gallery", "generated/gallery/*.ipynb", "generated/quality.md"]
# Pages link to files of the repository that have no page here; `tests/test_docs.py` checks that they are there.
suppress_warnings = ["myst.xref_missing", "config.cache"]

myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "auto"
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_execution_timeout = 300
nb_merge_streams = True

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "generated/gallery",
    "filename_pattern": r"\.py",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "min_reported_time": 1,
    "remove_config_comments": True,
    "within_subsection_order": "FileNameSortKey",
}

html_theme = "pydata_sphinx_theme"
html_title = f"tomodiff {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_theme_options = {
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "header_links_before_dropdown": 8,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
}
