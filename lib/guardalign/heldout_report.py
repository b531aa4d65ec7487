"""The report of a run without a judge: preference accuracy and likelihood of every arm, and nothing else claimed."""

from __future__ import annotations

import io
from html import escape

import pandas as pd
from matplotlib.figure import Figure

from guardalign.figures.style import INK, MUTED, SERIES, canvas, finish, percent, styled
from guardalign.papers import mathtext

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#16191d}"
    "table{border-collapse:collapse}td,th{padding:.3em .8em;text-align:right;border-bottom:1px solid #d5d9de}"
    "td:first-child,th:first-child{text-align:left}svg{max-width:100%;height:auto}"
)


def finding(table: pd.DataFrame) -> str:
    """What ``table``'s accuracies say in a sentence: who is ahead, or that nobody is."""
    ranked = table.sort_values("accuracy", ascending=False)
    best, second = ranked.iloc[0], ranked.iloc[min(1, len(ranked) - 1)]
    if len(ranked) > 1 and best["accuracy_low"] <= second["accuracy"]:
        low, high = table["accuracy"].min(), table["accuracy"].max()
        return f"No arm stands clear of the next: {low:.0%} to {high:.0%} of held-out pairs are told apart"
    return f"{best['arm']} prefers the chosen reply most often: in {best['accuracy']:.0%} of held-out pairs"


def caption(table: pd.DataFrame, profile: str) -> str:
    """How many pairs of how many conversations, and what the bars are."""
    return (
        f"{profile}: n = {int(table['n'].max())} pairs of {int(table['conversations'].max())} conversations, one seed. "
        "Bars: 95 % intervals, conversations resampled."
    )


def accuracy_figure(table: pd.DataFrame, profile: str = "") -> Figure:
    """Held-out preference accuracy of every arm with its interval, best at the top (``heldout.table``'s columns)."""
    rows = table.sort_values("accuracy").reset_index(drop=True)
    with styled():
        figure, (axes,) = canvas(1.6 + 0.36 * len(rows), width=7.6)
        reach = [rows["accuracy"] - rows["accuracy_low"], rows["accuracy_high"] - rows["accuracy"]]
        axes.errorbar(rows["accuracy"], rows.index, xerr=reach, fmt="o", color=SERIES[0], ecolor=MUTED, capsize=2)
        axes.axvline(0.5, color=MUTED, linewidth=0.8, linestyle=":")
        axes.set_yticks(rows.index, [mathtext(arm) for arm in rows["arm"]], color=INK)
        axes.xaxis.set_major_formatter(percent)
        axes.set_xlabel("chosen reply more likely than rejected")
    return finish(figure, finding(table), f"{caption(table, profile)} Dotted: chance.")


def page(table: pd.DataFrame, profile: str) -> str:
    """One self-contained HTML page of ``heldout.table``'s figures."""
    drawn = io.StringIO()
    accuracy_figure(table, profile).savefig(drawn, format="svg", metadata={"Date": None})
    svg = drawn.getvalue()
    names = {"arm": "arm", "nll": "nats a token", "accuracy": "accuracy", "gain": "margin grew", "n": "pairs"}
    rows = table[list(names)].rename(columns=names)
    shares = rows.assign(**{name: rows[name].map(_share) for name in ("accuracy", "margin grew")})
    body = shares.to_html(index=False, border=0, float_format=lambda value: f"{value:.3f}")
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(profile)}</title><style>{_STYLE}</style>'
        f"<h1>{escape(profile)}</h1><p>No judge read this run’s replies, so nothing is said here about guardrails "
        "kept or broken. What is measured: how likely each arm finds the data’s own chosen and rejected replies on the "
        "test split.</p>"
        f"{svg[svg.index('<svg') :]}<h2>All arms</h2>{body}</html>\n"
    )


def _share(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:.1%}"
