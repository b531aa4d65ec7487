"""Tables in, figures out: each function returns a matplotlib ``Figure`` that shows itself in a notebook.

>>> from guardalign import figures
>>> figure = figures.comparison_bars(rates, [("M_1SFT", "M_1SFT_ipo")], profile="embedded")   # Figures 3 and 4
>>> figures.save(figure, rates, run.figures("figure4"))       # figure4.png, figure4.svg, figure4.csv

``rates`` is always ``winrates.table``'s result (one judge). Titles state the finding and captions say n, judge,
orders, interval and seeds unless they are given; ``profile`` is named in the caption.
"""

from guardalign.figures.bars import comparison_bars
from guardalign.figures.beside import table_1
from guardalign.figures.forest import forest
from guardalign.figures.style import save

__all__ = ["comparison_bars", "forest", "save", "table_1"]
