"""Configuration of the documentation: ``make docs`` writes the site to ``docs/_build/html``."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "_extensions"), str(HERE.parent)]

import satseg  # noqa: E402

project = "satseg"
author = copyright = "The satseg authors"
release = version = satseg.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton", "generated_pages"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "_extensions"]
suppress_warnings = ["myst.xref_ambiguous"]

# Headings become targets, so that pages link to each other by file and heading: [text](page.md#heading).
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist"]

# The build reads no address outside of the repository, so the classes of other packages have no target to link to.
# Names of this package that are not public have none either, see generated_pages.leave_unlinked.
nitpicky = True
nitpick_ignore_regex = [(r"py:.*", r"Affine|BandSpec|Builder|collections\.abc\..*|nn\.Module")]

autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
napoleon_numpy_docstring = False
napoleon_use_rtype = False  # types stand in signatures; words before a colon are none
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80

html_theme = "furo"
html_title = f"satseg {release}"
html_copy_source = False
html_show_sphinx = False
copybutton_exclude = ".linenos, .gp, .go"
