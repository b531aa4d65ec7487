"""What notebook 05 shows of a comparison: paper B's Tables 1, 2 and 3 with this project's numbers beside them."""

from __future__ import annotations

import pandas as pd

from guardalign import papers
from guardalign.comparison import protocol
from guardalign.comparison.jobs import SFT, Job
from guardalign.comparison.protocol import Place
from guardalign.files import RunFolder
from guardalign.params import Params
from guardalign.world.twins import TWINS

NAMES = {
    "sft": "SFT", "ppo_offline": "PPO", "dpo": "DPO", "slic": "SLiC", "ipo_sum": "IPO", "kto": "KTO (logistic)",
    "kto_tanh": "KTO (tanh)",
}  # fmt: skip
"""Arms that paper B has, as its Table 3 calls them."""
OBSERVED = {
    "ppo_offline": "unstable: entropy fluctuates, the critic's loss stagnates",
    "dpo": "margins grow steadily, with occasional jumps",
    "slic": "hardly tells good from bad; rewards and gradient norms vary",
    "ipo_sum": "modest: rewards in a narrow range, little gain in accuracy",
    "kto": "stable; gradient norms grow",
    "kto_tanh": "as logistic, with less variable rewards and loss",
}
"""Paper B's Table 2, in short."""


def settings_beside_paper(settings: Params) -> pd.DataFrame:
    """Paper B's Table 1 and this run's settings."""
    tasks = protocol.section(settings)
    rows = [
        ("base model", "Mistral-7B-v0.1", settings.model.name),
        ("batch size (pairs)", 64, settings.training.batch_size),
        ("learning rate", 5e-7, tasks.identical.learning_rate),
        ("epochs", 1, tasks.identical.epochs),
        ("optimizer", "rmsprop", settings.training.optimizer),
        ("β", 0.1, tasks.identical.beta),
        ("prompt + reply (tokens)", 512, settings.model.max_length),
        ("temperature", 0, 0),
        ("prompts judged", 128, tasks.test),
        ("seeds", 1, len(tasks.seeds)),
    ]
    return pd.DataFrame(rows, columns=["setting", "paper B", "here"])


def dynamics(run: RunFolder, jobs: list[Job]) -> pd.DataFrame:
    """Paper B's Table 2 beside this run's curves, a mean over jobs of an arm: last fifth of the steps and first.

    ``margin`` and ``kl`` are of the training batches' (β·Δ, and mean log π/r of the data's replies, nats).
    """
    rows = []
    for job in jobs:
        curve = pd.read_json(Place(run, job).metrics, lines=True)
        part = max(1, len(curve) // 5)
        row: dict[str, object] = {"task": job.task, "arm": job.arm}
        for name in ("loss", "margin", "accuracy", "grad_norm", "kl"):
            if name in curve:
                row |= {f"{name} first": curve[name][:part].mean(), f"{name} last": curve[name][-part:].mean()}
        rows.append(row)
    table = pd.DataFrame(rows).groupby(["task", "arm"], sort=False).mean().reset_index()
    return table.assign(paper=table["arm"].map(OBSERVED).fillna("not in the paper"))


def table_3(summary: pd.DataFrame) -> pd.DataFrame:
    """Paper B's win rates and those on the twins, in %: two kinds of column that never mix.

    The twins are not the paper's data; only the order of the methods can be compared.
    """
    published = papers.table_3().set_index("method")
    rows = []
    for arm in dict.fromkeys(summary["arm"]):
        row: dict[str, object] = {"method": NAMES.get(arm, arm)}
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


def gains(summary: pd.DataFrame) -> pd.DataFrame:
    """Which arms raise held-out preference accuracy above the SFT model's, and whether the interval excludes zero."""
    table = summary.loc[
        summary["arm"] != SFT, ["task", "arm", "accuracy_gain", "accuracy_gain_low", "accuracy_gain_high"]
    ]
    return table.assign(raised=table["accuracy_gain_low"] > 0).reset_index(drop=True)


SHOWN = {
    "table1": "Paper B's Table 1 (settings)",
    "table2": "Paper B's Table 2 (training dynamics): last fifth of the steps against the first",
    "table3_identical": "Paper B's Table 3 (win rates against the preferred reply, %): identical settings",
    "table3_tuned": "The same with a rate and β of each method's own, chosen on the validation split",
    "gains": "Held-out preference accuracy, gain over the SFT model",
    "costs": "Cost an arm, and AlpacaEval's figures",
    "decided": "Pairs of methods whose difference survives Holm's correction",
}


def made_tables(run: RunFolder) -> dict[str, pd.DataFrame]:
    """The tables of a finished comparison by their titles; empty where it was not run."""
    paths = {title: run.tables(f"{name}.csv") for name, title in SHOWN.items()}
    found = {title: pd.read_csv(path) for title, path in paths.items() if path.exists()}
    if run.tables("identical_methods.csv").exists():
        wide = pd.read_csv(run.tables("identical_methods.csv"))
        columns = [
            "task", "arm", "win_rate", "standard_error", "length_controlled", "words", "repetition", "distinct_2",
            "kl", "seconds", "memory_gib", "policy_passes", "reference_passes", "reward_accuracy",
        ]  # fmt: skip
        found[SHOWN["costs"]] = wide[[name for name in columns if name in wide]]
    if run.tables("identical_pairs.csv").exists():
        pairs = pd.read_csv(run.tables("identical_pairs.csv"))
        found[SHOWN["decided"]] = pairs[pairs["p_holm"] < 0.05].reset_index(drop=True)
    return found
