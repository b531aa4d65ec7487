"""One look for all figures: colours, sizes, captions, saving.

Ink, paper and rules are used for nothing else, so that a page can swap them for dark ones (see ``html.inline``); the
colours of arms are in ``looks``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure

from guardalign.files import replacing, write_text

INK, MUTED, RULE, PAPER = "#16191d", "#5a626b", "#d5d9de", "#fefefe"
ON_DARK, ON_LIGHT = "#ffffff", "#101316"
BINS = {"better_1": "#0b4f87", "both": "#cfe3f1", "none": "#9a9a9a", "better_2": "#f0a04b"}
BIN_HATCH = {"none": "////"}
ACCENT = "#0072b2"
SEQUENTIAL = "Blues_r"
BEHIND = {"boxstyle": "square,pad=0.1", "facecolor": PAPER, "edgecolor": "none"}
"""The box behind a text that overlaps lines."""
WIDTH = 8.0
SMALL = 8.0
"""The smallest text, in points: a page that shows a point as 9/8 pixels or more keeps all text at 9 pixels."""
PNG_DPI = 160
# Characters that fit into an inch of a bold 11.5 pt title and of an 8 pt caption, with some to spare.
TITLE_CHARACTERS, CAPTION_CHARACTERS = 9.2, 15.0

SETTINGS: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": RULE,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "guardalign",
    "hatch.linewidth": 0.6,
    "axes.unicode_minus": True,
    "figure.constrained_layout.use": True,
    "mathtext.fontset": "dejavusans",
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw within this block and the figure has the project's look, regardless of the reader's settings."""
    with matplotlib.rc_context(SETTINGS):
        yield


def canvas(height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, list[Axes]]:
    """A figure outside pyplot's global state, and its axes row by row."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, list(axes.ravel())


def titled(figure: Figure, title: str, caption: str, profile: str = "") -> Figure:
    """Set the title (what is plotted, and of which run) above and the caption below, wrapped to the figure's width.

    Both stay with the figure for :func:`save` and the report.
    """
    width, title = figure.get_figwidth(), title + (f" · {profile}" if profile else "")
    figure.suptitle(
        wrap(title, int(width * TITLE_CHARACTERS)), x=0.01, ha="left", fontsize=11.5, fontweight="bold", color=INK
    )
    lines = wrap(caption, int(width * CAPTION_CHARACTERS))
    figure.supxlabel(lines, x=0.01, ha="left", fontsize=SMALL, color=MUTED)
    figure.set_label(title)
    return figure


def save(figure: Figure, table: pd.DataFrame, path: Path) -> None:
    """Write ``path``.png, .svg and .csv (the numbers behind the figure). The same figure gives the same bytes."""
    notes = {"Title": figure.get_label(), "Description": figure.get_supxlabel().replace("\n", " ")}
    kinds = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}
    with matplotlib.rc_context(SETTINGS):
        for kind, none in kinds.items():
            with replacing(path.with_name(f"{path.name}.{kind}")) as part:
                figure.savefig(part, format=kind, dpi=PNG_DPI, metadata=notes | none)
    write_text(path.with_name(f"{path.name}.csv"), table.to_csv(index=False))


def label_axes(axes: Axes, grid: Literal["x", "y"]) -> None:
    """Ticks without marks, and a quiet grid along ``grid``."""
    axes.tick_params(length=0)
    axes.grid(axis=grid)


def percent_axis(axis: Axis) -> None:
    """Fractions as percent, with as many digits as each tick needs."""
    axis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %")


def wrap(text: str, characters: int) -> str:
    """Break ``text`` into lines of at most ``characters`` that are seen: mathtext's commands take no room.

    No-break spaces (U+00A0) hold.
    """
    lines: list[str] = []
    for word in re.split(r"[ \n]+", text.strip()):
        if lines and _seen(f"{lines[-1]} {word}") <= characters:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return "\n".join(lines)


def _seen(text: str) -> int:
    return len(re.sub(r"\\mathrm|[${}_^]", "", text))
