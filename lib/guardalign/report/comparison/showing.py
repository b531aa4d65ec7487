"""What notebook 15 shows of a finished comparison: figures, tables and sentences, all made from the run's files."""

from __future__ import annotations

import pandas as pd
from IPython.display import Markdown
from matplotlib.figure import Figure

from guardalign.files import RunFolder
from guardalign.report import figures as drawing
from guardalign.report.comparison import RLHF, SFT, dynamics, findings
from guardalign.report.comparison.reading import made_tables
from guardalign.report.figures import save

NOT_RUN = "Not run yet: `make comparison` makes `outputs/comparison`; run this cell again afterwards."
TWIN = "Twins of the paper’s tasks in the embedded world, judged by reading the text; not the paper’s data."
PARTS = {
    "settings": ("table1",),
    "win_rates": ("win_rates", "table3_identical", "table3_tuned"),
    "accuracy": ("accuracy", "gains", "gains_tuned"),
    "dynamics": ("dynamics", "table2"),
    "same_loss": ("same_loss",),
    "between": ("decided",),
    "cost": ("cost", "costs", "alpaca_eval"),
}


def figures(run: RunFolder) -> dict[str, tuple[Figure, pd.DataFrame]]:
    """Every figure of a finished comparison with the numbers behind it; empty if it was not run.

    Where only the tables were kept, the curves of its steps are left out.
    """
    summary = _read(run, "identical_methods")
    if summary is None:
        return {}
    tuned, steps, profile = _read(run, "tuned_methods"), dynamics.curves(run), run.root.name
    drawn = {"accuracy": (_gains(summary, tuned, profile), summary)}
    if "win" in summary:
        note = f"Share of prompts whose reply reads better than the data’s preferred one, ties half. {TWIN}"
        words = "beats the preferred reply"
        drawn["win_rates"] = (drawing.tasks(summary, "win", 0.5, words, tuned, profile, note), summary)
    drawn["cost"] = (drawing.task_costs(summary[summary["arm"] != SFT], profile), summary)
    if steps.empty:
        return drawn
    drawn["dynamics"] = (drawing.dynamics(steps, dynamics.OBSERVED, profile), dynamics.table_2(steps))
    same = dynamics.same_loss(steps)
    return drawn | ({"same_loss": (drawing.equal_losses(same, profile), same)} if len(same) else {})


def _gains(summary: pd.DataFrame, tuned: pd.DataFrame | None, profile: str) -> Figure:
    note = "Share of held-out pairs whose chosen reply has the higher log-probability, less the SFT model’s share."
    methods = summary[summary["arm"] != SFT]
    return drawing.tasks(methods, "accuracy_gain", 0.0, "gain in preference accuracy", tuned, profile, note)


def save_figures(run: RunFolder) -> None:
    """Write every figure into the run's ``figures/``."""
    for name, (figure, table) in figures(run).items():
        save(figure, table, run.figures(name))


def parts(run: RunFolder) -> dict[str, list[object]]:
    """What to display under each heading: ``display(*parts["win_rates"])``. Without results, what to run."""
    drawn, tables, said = figures(run), made_tables(run), sentences(run)
    found: dict[str, list[object]] = {}
    for part, names in PARTS.items():
        shown: list[object] = [Markdown(said[part])] if part in said else []
        for name in names:
            shown += [drawn[name][0]] if name in drawn else []
            if name in tables:
                title, table = tables[name]
                shown += [Markdown(f"**{title}**"), table.round(3)]
        found[part] = shown if drawn else [Markdown(NOT_RUN)]
    return found


def sentences(run: RunFolder) -> dict[str, str]:
    """The outcome in words, by part: which methods work as intended, which do not, and why."""
    summary = _read(run, "identical_methods")
    if summary is None:
        return {}
    tuned, pairs = _read(run, "tuned_methods"), _read(run, "identical_pairs")
    said = {"accuracy": f"At identical settings:\n\n{findings.sentences(findings.gains(summary))}"}
    if tuned is not None:
        own = findings.sentences(findings.gains(tuned))
        said["accuracy"] += f"\n\nWith each method's rate and β tuned:\n\n{own}"
    said["win_rates"] = findings.degeneration(summary)
    if pairs is not None:
        said["between"] = findings.decided(pairs)
    if RLHF in set(summary["arm"]):
        said["cost"] = findings.reward_model(summary)
    return said


def _read(run: RunFolder, name: str) -> pd.DataFrame | None:
    path = run.tables(f"{name}.csv")
    return pd.read_csv(path) if path.exists() else None
