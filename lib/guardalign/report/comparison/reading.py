"""What notebook 15 shows of a comparison: paper B's Tables 1, 2 and 3 with this project's numbers next to them."""

from __future__ import annotations

import pandas as pd

from guardalign import papers
from guardalign.config.params import Params
from guardalign.config.plan import BASE
from guardalign.files import RunFolder
from guardalign.world.twins import TWINS


def settings_beside_paper(settings: Params) -> pd.DataFrame:
    """Paper B's Table 1 and this run's settings."""
    arm = next(each for each in settings.study.arms.values() if each.start != BASE)
    rows = [
        ("base model", "Mistral-7B-v0.1", settings.model.name),
        ("batch size (pairs)", 64, settings.training.batch_size),
        ("learning rate", 5e-7, arm.learning_rate),
        ("epochs", 1, arm.epochs),
        ("optimizer", "rmsprop", settings.training.optimizer),
        ("β", 0.1, arm.beta),
        ("prompt (tokens)", 256, "no limit of its own"),
        ("prompt + reply (tokens)", 512, settings.model.max_length),
        ("temperature", 0, 0),
        ("prompts judged", 128, settings.tasks.test if settings.tasks else 0),
        ("seeds", 1, max(1, len(settings.study.seeds))),
    ]
    return pd.DataFrame(rows, columns=["setting", "paper B", "here"])


def table_3(summary: pd.DataFrame) -> pd.DataFrame:
    """Paper B's win rates and those on the twins, in %: two kinds of column that never mix.

    The twins are not the paper's data; only the order of the methods can be compared.
    """
    published = papers.table_3().set_index("method")
    rows = []
    for arm in dict.fromkeys(summary["arm"]):
        row: dict[str, object] = {"method": papers.B_METHODS.get(arm, arm)}
        for name, task in TWINS.items():
            found = summary[(summary["arm"] == arm) & (summary["task"] == name)]
            if not found.empty:
                row |= {
                    f"{name} {end}".strip(): 100 * found[f"win{end and '_' + end}"].iloc[0]
                    for end in ("", "low", "high")
                }
            known = row["method"] in published.index
            row[f"paper: {task.like}"] = published.loc[str(row["method"]), task.column] if known else float("nan")
        rows.append(row)
    return pd.DataFrame(rows)


SHOWN = {
    "table1": "Paper B's Table 1 (settings)",
    "table2": "Paper B's Table 2 (training dynamics): last fifth of the steps against the first",
    "table3_identical": "Paper B's Table 3 (win rates against the preferred reply, %): identical settings",
    "table3_tuned": "The same with each method's rate and β tuned on the validation split",
    "gains": "Held-out preference accuracy, gain over the SFT model: identical settings",
    "gains_tuned": "The same with each method's rate and β tuned",
    "alpaca_eval": "AlpacaEval 2.0: annotations by its own judge (%)",
    "costs": "Cost per arm, and AlpacaEval's figures",
    "decided": "Pairs of methods whose interval excludes 50 % (exploration, not corrected)",
}
COSTS = (
    "task", "arm", "win_rate", "standard_error", "length_controlled", "words", "repetition", "distinct_2", "kl",
    "seconds", "memory_gib", "policy_passes", "reference_passes", "reward_passes", "replies_drawn", "reward_accuracy",
)  # fmt: skip


def made_tables(run: RunFolder) -> dict[str, tuple[str, pd.DataFrame]]:
    """The tables of a finished comparison by name, each with its title; empty if it was not run."""
    paths = {name: run.tables(f"{name}.csv") for name in SHOWN}
    found = {name: pd.read_csv(path) for name, path in paths.items() if path.exists()}
    if run.tables("identical_methods.csv").exists():
        wide = pd.read_csv(run.tables("identical_methods.csv"))
        found["costs"] = wide[[name for name in COSTS if name in wide]]
    if run.tables("identical_pairs.csv").exists():
        pairs = pd.read_csv(run.tables("identical_pairs.csv"))
        found["decided"] = pairs[(pairs["win_low"] > 0.5) | (pairs["win_high"] < 0.5)].reset_index(drop=True)
    return {name: (title, found[name]) for name, title in SHOWN.items() if name in found}
