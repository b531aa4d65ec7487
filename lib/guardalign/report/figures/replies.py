"""What replies look like, and what arms cost."""

from __future__ import annotations

from collections.abc import Callable, Collection

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from guardalign.report.figures import style
from guardalign.report.figures.looks import looks, named, warning
from guardalign.report.figures.words import caption, span


def reply_panels(statistics: pd.DataFrame, profile: str = "", note: str = "", marks: Collection[str] = ()) -> Figure:
    """Words per reply (quartiles; whiskers 5 to 95 %), mean share of repeated 3-grams, share cut off; one row per arm.

    ``statistics`` is ``replystats.reply_statistics``'s result.
    """
    arms = list(dict.fromkeys(statistics["arm"]))
    palette = {arm: each.colour for arm, each in looks(arms).items()}
    shares = statistics.assign(cut_off=1.0 - statistics["finished"].astype(float))
    shares = shares.groupby("arm", sort=False)[["repetition", "cut_off"]].mean()
    with style.styled():
        figure, axes = style.canvas(1.6 + 0.36 * len(arms), columns=3, sharey=True, width_ratios=[2, 1, 1])
        sns.boxplot(statistics, x="words", y="arm", hue="arm", order=arms, hue_order=arms, palette=palette, ax=axes[0],
                    whis=(5, 95), showfliers=False, width=0.55, legend=False, linewidth=0.9, linecolor=style.INK,
                    saturation=0.8)  # fmt: skip
        for axis, name in zip(axes[1:], shares, strict=True):
            _bars(axis, shares[name], lambda share: f"{100 * share:.1f} %")
            axis.set_xlim(0, max(0.05, 1.55 * shares[name].max()))
            axis.locator_params(axis="x", nbins=3)
            style.percent_axis(axis.xaxis)
        for axis, text in zip(axes, ("Words per reply", "Repeated 3-grams", "Cut off"), strict=True):
            axis.set(title=text, xlabel="", ylabel="")
            style.label_axes(axis, "x")
        axes[0].set_yticks(range(len(arms)), [named(arm, marks) for arm in arms])
        per_arm = span(statistics.groupby("arm").size())
        below = f"{per_arm} replies per arm; boxes: quartiles, whiskers: 5th and 95th percentile. {note}".strip()
        return style.titled(
            figure, "Length, repetition and cut-offs of the replies", below + warning(arms, marks), profile
        )


def _bars(axes: Axes, values: pd.Series, words: Callable[[float], str]) -> None:
    """A bar per arm, the index of ``values``, with its number in ``words`` at the end."""
    palette = {arm: each.colour for arm, each in looks(values.index).items()}
    sns.barplot(x=values, y=values.index, hue=values.index, order=values.index, palette=palette, ax=axes, width=0.58,
                legend=False, saturation=0.8)  # fmt: skip
    for position, value in enumerate(values):
        axes.annotate(words(value), (value, position), (4, 0), textcoords="offset points", va="center",
                      fontsize=style.SMALL, bbox=style.BEHIND)  # fmt: skip


def cost(
    costs: pd.DataFrame, kept: pd.DataFrame, profile: str = "", marks: Collection[str] = (), level: float = 0.95
) -> Figure:
    """Prompts with all guardrails kept against the seconds of training, ancestors included, one point per arm.

    ``costs`` has arm and ``seconds_in_all``; ``kept`` is ``tables.arms``'s result.
    """
    known = kept[kept["measure"] == "adherence"].merge(costs, on="arm")
    look_of = looks(known["arm"])
    with style.styled():
        figure, (axes,) = style.canvas(4.2)
        for row in known.to_dict("records"):
            look, reach = look_of[row["arm"]], [[row["value"] - row["low"]], [row["high"] - row["value"]]]
            axes.errorbar(row["seconds_in_all"], row["value"], yerr=reach, fmt=look.marker, color=look.colour,
                          elinewidth=1, markersize=7, label=named(row["arm"], marks))  # fmt: skip
        axes.set_xlim(0, 1.1 * known["seconds_in_all"].max())
        style.percent_axis(axes.yaxis)
        style.label_axes(axes, "y")
        axes.set(xlabel="seconds of training, those of the arms it starts from included",
                 ylabel="prompts with all guardrails kept")  # fmt: skip
        axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), borderaxespad=0)
        basis = caption(known, warning(known["arm"], marks), level)
        return style.titled(figure, "Cost of an arm against what it keeps", basis, profile)


def task_costs(summary: pd.DataFrame, profile: str = "") -> Figure:
    """Time, memory and replies scored per pair of each arm of the comparison, means over tasks and seeds."""
    names = {"seconds": "Training, s", "memory_gib": "Most memory, GiB", "passes": "Replies scored per pair"}
    kinds = [name for name in ("policy_passes", "reference_passes", "reward_passes") if name in summary]
    table = summary.assign(passes=summary[kinds].fillna(0).sum(axis=1)).groupby("arm", sort=False)[list(names)].mean()
    table = table.sort_values("seconds")
    with style.styled():
        figure, axes = style.canvas(1.8 + 0.3 * len(table), columns=3, sharey=True)
        for axis, (name, text) in zip(axes, names.items(), strict=True):
            _bars(axis, table[name], lambda value: f"{value:.3g}")
            axis.set_xlim(0, 1.25 * float(table[name].max()))
            axis.set(title=text, xlabel="", ylabel="")
            style.label_axes(axis, "x")
        axes[0].set_yticks(range(len(table)), [named(arm) for arm in table.index])
        note = (
            "Means over tasks and seeds, the SFT model they start from not included. Replies are scored by the policy, "
            "the reference and, online, the reward model. Memory on a CPU is the process’s resident size."
        )
        return style.titled(figure, "Cost of each arm", note, profile)
