"""Sphinx configuration of the site that `make book` builds from the Markdown pages and the notebooks, as they stand.

The Makefile copies the pages into a folder of their own, laid out as the repository is, so that their links work in
both places. Nothing is executed, and the pages load nothing from elsewhere.
"""

from docutils import nodes
from latex2mathml.converter import convert as mathml
from sphinx.application import Sphinx

project = "Guardrail Alignment"
copyright = "guardalign, MIT licence"

extensions = ["myst_nb"]
root_doc = "index"
include_patterns = ["*.md", "docs/*.md", "notebooks/*.ipynb", "lib/guardalign/data/care/README.md"]
exclude_patterns = ["README.md", "docs/index.md"]  # both are the front page
suppress_warnings = ["mystnb.unknown_mime_type"]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_ipywidgets_js: dict[str, dict[str, str]] = {}  # widgets would load scripts from elsewhere
nb_merge_streams = True
nb_render_image_options = {"alt": "Figure drawn by the cell above"}

html_theme = "furo"
html_title = project
html_static_path = ["book.css"]
html_css_files = ["book.css"]
html_copy_source = False
html_math_renderer = "mathml"


def _formula(writer, node: nodes.math | nodes.math_block) -> None:
    """TeX as MathML, which browsers set without a script."""
    block = isinstance(node, nodes.math_block)
    formula = mathml(node.astext(), display="block" if block else "inline")
    writer.body.append(f'<div class="formula">{formula}</div>' if block else formula)
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    app.add_html_math_renderer("mathml", (_formula, None), (_formula, None))
