"""Sphinx configuration."""

project = "xmit"
author = "The xmit founders"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
nb_execution_mode = "off"  # tests/test_quickstart.py executes the notebook and compares its numbers
autodoc_typehints = "description"
autodoc_class_signature = "mixed"
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3  # links to headings of other pages
suppress_warnings = ["ref.python", "myst.header"]
