"""What replies look like, and what arms cost."""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from guardalign.report.figures.looks import looks, named, warning
from guardalign.report.figures.points import BEHIND, name_rows
from guardalign.report.figures.style import INK, SMALL, canvas, finish, label_axes, percent_axis, styled
from guardalign.report.figures.words import count, span


def reply_panels(statistics: pd.DataFrame, profile: str = "", note: str = "", marks: Collection[str] = ()) -> Figure:
    """Words per reply (quartiles; whiskers 5 to 95 %), mean share of repeated 3-grams, share cut off; one row per arm.

    ``statistics`` is ``replystats.reply_statistics``'s result.
    """
    arms = list(dict.fromkeys(statistics["arm"]))
    own = looks(arms)
    palette = {arm: own[arm].colour for arm in arms}
    shares = statistics.assign(cut_off=1.0 - statistics["finished"].astype(float))
    shares = shares.groupby("arm", sort=False)[["repetition", "cut_off"]].mean()
    with styled():
        figure, axes = canvas(1.6 + 0.36 * len(arms), columns=3, sharey=True, width_ratios=[2, 1, 1])
        sns.boxplot(statistics, x="words", y="arm", hue="arm", order=arms, hue_order=arms, palette=palette, ax=axes[0],
                    whis=(5, 95), showfliers=False, width=0.55, legend=False, linewidth=0.9, linecolor=INK,
                    saturation=0.8)  # fmt: skip
        for axis, name in zip(axes[1:], shares, strict=True):
            sns.barplot(shares, x=name, y=shares.index, hue=shares.index, order=arms, palette=palette, ax=axis,
                        width=0.55, legend=False, saturation=0.8)  # fmt: skip
            for place, share in enumerate(shares[name]):
                axis.annotate(f"{100 * share:.1f} %", (share, place), (4, 0), textcoords="offset points", va="center",
                              fontsize=SMALL, bbox=BEHIND)  # fmt: skip
            axis.set_xlim(0, max(0.05, 1.55 * shares[name].max()))
            axis.locator_params(axis="x", nbins=3)
            percent_axis(axis.xaxis)
        for axis, text in zip(axes, ("Words per reply", "Repeated 3-grams", "Cut off"), strict=True):
            axis.set_title(text)
            axis.set(xlabel="", ylabel="")
            label_axes(axis, "x")
        name_rows(axes[0], arms, marks)
        per_arm = span(statistics.groupby("arm").size())
        below = f"{per_arm} replies per arm; boxes: quartiles, whiskers: 5th and 95th percentile. {note}".strip()
        return finish(figure, "Length, repetition and cut-offs of the replies", below + warning(arms, marks), profile)


def cost(costs: pd.DataFrame, kept: pd.DataFrame, profile: str = "", marks: Collection[str] = ()) -> Figure:
    """Prompts with all guardrails kept against the seconds of training, ancestors included, one point per arm.

    ``costs`` has arm and ``seconds_in_all``; ``kept`` is ``tables.arms``'s result.
    """
    known = kept[kept["measure"] == "adherence"].merge(costs, on="arm")
    own = looks(known["arm"])
    with styled():
        figure, (axes,) = canvas(4.2)
        for row in known.to_dict("records"):
            look = own[row["arm"]]
            reach = [[row["value"] - row["low"]], [row["high"] - row["value"]]]
            axes.errorbar(row["seconds_in_all"], row["value"], yerr=reach, fmt=look.marker, color=look.colour,
                          elinewidth=1, markersize=7, label=named(row["arm"], marks))  # fmt: skip
        axes.set_xlim(0, 1.1 * known["seconds_in_all"].max())
        percent_axis(axes.yaxis)
        label_axes(axes, "y")
        axes.set_xlabel("seconds of training, those of the arms it starts from included")
        axes.set_ylabel("prompts with all guardrails kept")
        axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), borderaxespad=0)
        basis = f"{count(int(known['seeds'].max()), 'training seed')}; 95 % intervals.{warning(known['arm'], marks)}"
        return finish(figure, "Cost of an arm against what it keeps", basis, profile)


def task_costs(summary: pd.DataFrame, profile: str = "") -> Figure:
    """Time, memory and replies scored per pair of each arm of the comparison, means over tasks and seeds."""
    names = {"seconds": "Training, s", "memory_gib": "Most memory, GiB", "passes": "Replies scored per pair"}
    kinds = [name for name in ("policy_passes", "reference_passes", "reward_passes") if name in summary]
    table = summary.assign(passes=summary[kinds].fillna(0).sum(axis=1)).groupby("arm", sort=False)[list(names)].mean()
    table = table.sort_values("seconds")
    own = looks(table.index)
    with styled():
        figure, axes = canvas(1.8 + 0.3 * len(table), columns=3, sharey=True)
        for axis, (name, text) in zip(axes, names.items(), strict=True):
            sns.barplot(table, x=name, y=table.index, hue=table.index, ax=axis, width=0.6, legend=False, saturation=0.8,
                        palette={arm: own[arm].colour for arm in table.index})  # fmt: skip
            for place, value in enumerate(table[name]):
                axis.annotate(f"{value:.3g}", (value, place), (3, 0), textcoords="offset points", va="center",
                              fontsize=SMALL, bbox=BEHIND)  # fmt: skip
            axis.set_xlim(0, 1.25 * float(table[name].max()))
            axis.set_title(text)
            axis.set(xlabel="", ylabel="")
            label_axes(axis, "x")
        name_rows(axes[0], list(table.index))
        note = (
            "Means over tasks and seeds, the SFT model they start from not included. Replies are scored by the policy, "
            "the reference and, online, the reward model. Memory on a CPU is the process’s resident size."
        )
        return finish(figure, "Cost of each arm", note, profile)
