"""What a run's folder holds, read for the report; missing parts are empty, not an error."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from guardalign import stats
from guardalign.config.plan import BASE, Plan
from guardalign.data.conversations import PreferencePair, Reply
from guardalign.errors import MissingStage
from guardalign.files import RunFolder, read_rows
from guardalign.generation.replystats import reply_statistics
from guardalign.judging.guardrail_kinds import kind_of
from guardalign.judging.stage import PREFERRED, SAMPLED
from guardalign.judging.verdicts import Verdict
from guardalign.papers import PANELS
from guardalign.report import breakdown, tables
from guardalign.study import heldout
from guardalign.training.arm_folder import METRICS, read_metrics

GOLD = ("chosen", "rejected")
TRANSFER = "transfer"
"""The part of the verdicts that is on the plan's contrasts too."""


@dataclass(frozen=True)
class Results:
    """One run, over one or several training seeds. ``verdicts`` and ``replies`` are by seed; ``pairs`` and ``metrics``
    are the first seed's. ``facts`` are what the run's stages recorded, ``parameters`` the sections among them.

    ``parts`` are the folders within ``verdicts/``, by seed too: ``transfer`` (prompts of a held-out domain),
    ``canaries``, ``preferred`` (the compared methods' verdicts against the data's preferred replies).
    """

    name: str
    root: Path
    verdicts: dict[int, list[Verdict]]
    pairs: dict[str, PreferencePair]
    replies: dict[int, dict[str, list[Reply]]]
    metrics: dict[str, pd.DataFrame]
    facts: dict[str, Any]
    parameters: dict[str, Any]
    level: float
    tables: dict[str, pd.DataFrame]
    parts: dict[str, dict[int, list[Verdict]]]

    @property
    def judged(self) -> bool:
        """Whether there is a valid verdict on two arms; verdicts on the data's own pairs do not count."""
        return any(
            verdict.invalid is None and (verdict.arm_1, verdict.arm_2) != GOLD
            for verdicts in self.verdicts.values()
            for verdict in verdicts
        )

    @cached_property
    def rows(self) -> pd.DataFrame:
        """All verdicts of all seeds, judges and comparisons, the gold pairs among them."""
        return pd.concat([stats.frame(verdicts, seed) for seed, verdicts in self.verdicts.items()], ignore_index=True)

    @cached_property
    def judge(self) -> str:
        """The judge with the most valid verdicts: the one the figures show."""
        return str(self.rows.loc[self.rows["valid"], "judge"].value_counts().idxmax())

    @cached_property
    def plan(self) -> Plan:
        """Arms, contrasts and seeds as the run recorded them; without arms if it recorded none."""
        return recorded(self.facts)

    @cached_property
    def compared(self) -> pd.DataFrame:
        """The main judge's rows on the arms' comparisons, the paper's first and in its order, then the plan's."""
        gold = self.rows["arm_1"].isin(GOLD) & self.rows["arm_2"].isin(GOLD)
        rows = self.rows[(self.rows["judge"] == self.judge) & ~gold]
        pairs = dict.fromkeys([*PANELS.values(), *((each.arm_1, each.arm_2) for each in self.plan.contrasts)])
        ranks = {pair: rank for rank, pair in enumerate(pairs)}
        rank = [ranks.get(pair, len(ranks)) for pair in zip(rows["arm_1"], rows["arm_2"], strict=True)]
        return rows.assign(rank=rank).sort_values("rank", kind="stable").drop(columns="rank")

    @cached_property
    def rates(self) -> pd.DataFrame:
        return stats.table(self.compared, self.level, self.named)

    @cached_property
    def preferred_rates(self) -> pd.DataFrame:
        """Win rates against the preferred replies, as in paper B's Table 3; empty if they were not judged."""
        frames = [stats.frame(verdicts, seed) for seed, verdicts in self.parts.get(PREFERRED, {}).items() if verdicts]
        return stats.table(pd.concat(frames, ignore_index=True), self.level) if frames else self.rates.iloc[:0]

    @cached_property
    def held_out(self) -> pd.DataFrame:
        """What all arms prefer among the data's own replies, over all seeds, the study's arms first.

        Raises MissingStage without scores.
        """
        scores = {seed: heldout.stored(folder) for seed, folder in seed_folders(self.root).items()}
        if not any(scores.values()):
            raise _not_judged(self.root)
        starts = {name: arm.start for name, arm in self.plan.arms.items()}
        ranks = {arm: rank for rank, arm in enumerate([BASE, *self.plan.order()])}
        rows = pd.concat([heldout.rows(by_arm, starts, seed) for seed, by_arm in scores.items()], ignore_index=True)
        rank = rows["arm"].map(ranks).fillna(len(ranks))
        rows = rows.assign(rank=rank).sort_values(["seed", "rank", "arm"], kind="stable")
        return heldout.table(rows, self.level)

    @cached_property
    def named(self) -> list[tuple[str, str]]:
        """The contrasts that the plan names beforehand."""
        return list(self.plan.named)

    @cached_property
    def differences(self) -> pd.DataFrame:
        """Paired differences of all comparisons: ``tables.differences``'s columns."""
        return tables.differences(self.rates, self.exchanged, self.named)

    @cached_property
    def exchanged(self) -> pd.DataFrame:
        """Guardrail applications gained and lost in every comparison; empty if there are no verdicts on guardrails."""
        return stats.exchanged(self.statuses, self.comparisons, self.level)

    @cached_property
    def comparisons(self) -> list[tuple[str, str]]:
        """The arms of each comparison, in the order of ``rates``."""
        return list(dict.fromkeys(zip(self.rates["arm_1"], self.rates["arm_2"], strict=True)))

    @cached_property
    def kept(self) -> pd.DataFrame:
        """What each arm keeps: ``tables.arms``'s columns."""
        found = tables.arms(self.compared, stats.adherence(self.statuses, self.level), self.level)
        order = {arm: rank for rank, arm in enumerate(self.plan.order())}
        return found.sort_values("arm", key=lambda each: each.map(order), kind="stable", ignore_index=True)

    @cached_property
    def collapsed(self) -> dict[str, str]:
        """Arms whose replies are cut off or repeat themselves, and how many of them."""
        return tables.collapsed(reply_statistics(self.all_replies)) if self.arms else {}

    @cached_property
    def statuses(self) -> pd.DataFrame:
        """A row per judged reply and guardrail that applied to it: ``stats.statuses``'s columns, of all seeds."""
        return self._statuses(self.verdicts)

    @cached_property
    def all_statuses(self) -> pd.DataFrame:
        """``statuses``, and those of the held-out domain."""
        return pd.concat([self.statuses, self._statuses(self.parts.get(TRANSFER, {}))], ignore_index=True)

    def _statuses(self, verdicts: dict[int, list[Verdict]]) -> pd.DataFrame:
        kind = kind_of(self.pairs.values())
        rows = [
            stats.statuses(
                (v for v in seed_verdicts if v.judge == self.judge and (v.arm_1, v.arm_2) != GOLD), kind, seed
            )
            for seed, seed_verdicts in (verdicts or {0: []}).items()
        ]
        return pd.concat(rows, ignore_index=True)

    @cached_property
    def breakdown(self) -> pd.DataFrame:
        """``breakdown.parts`` of all contrasts, those named beforehand first."""
        apart = self.differences.sort_values("named", ascending=False, kind="stable")
        contrasts = list(dict.fromkeys(zip(apart["arm_1"], apart["arm_2"], strict=True)))
        return breakdown.parts(self.all_statuses, breakdown.labels(list(self.pairs.values())), contrasts, self.level)

    @cached_property
    def sampled(self) -> Results | None:
        """These results of the replies that the first seed's arms draw at temperature 1; None if the plan has none."""
        if not self.plan.samples:
            return None
        seed, folder = next(iter(seed_folders(self.root).items()))
        verdicts = [v for v in _verdicts(folder / SAMPLED / "verdicts") if (v.arm_1, v.arm_2) in self.named]
        asked = {verdict.pair_id: self.pairs.get(verdict.pair_id.rpartition("#")[0]) for verdict in verdicts}
        pairs = {name: pair.model_copy(update={"id": name}) for name, pair in asked.items() if pair}
        replies = _replies(folder / SAMPLED)
        own = replace(self, verdicts={seed: verdicts}, pairs=pairs, replies={seed: replies}, parts={})
        return own if verdicts else None

    @cached_property
    def compliance(self) -> pd.DataFrame:
        return stats.compliance(self.statuses, self.level)

    @cached_property
    def texts(self) -> dict[tuple[str, str], str]:
        """The first seed's replies by arm and prompt."""
        first = self.replies[min(self.replies)]
        return {(arm, reply.pair_id): reply.text for arm, replies in first.items() for reply in replies}

    @cached_property
    def arms(self) -> set[str]:
        """The arms that have replies."""
        return {arm for by_arm in self.replies.values() for arm in by_arm}

    @property
    def all_replies(self) -> list[Reply]:
        return [reply for by_arm in self.replies.values() for replies in by_arm.values() for reply in replies]

    @property
    def first_verdicts(self) -> list[Verdict]:
        return self.verdicts[min(self.verdicts)]


def load(root: str | Path, level: float | None = None, stage: str | None = None) -> Results:
    """As ``read``. Raises MissingStage without verdicts."""
    results = read(root, level, stage)
    if not results.judged:
        raise _not_judged(results.root)
    return results


def _not_judged(root: Path) -> MissingStage:
    return MissingStage(
        f"{root} has no valid verdicts on two arms. Run notebooks/06_judging.ipynb first: it makes them."
    )


def read(root: str | Path, level: float | None = None, stage: str | None = None) -> Results:
    """Read ``outputs/<run>``. If it has folders ``seed-<n>`` with verdicts or scores, they are the training seeds.
    People's verdicts, which are on the first seed's replies, are read from ``people/*.jsonl``.

    Verdicts on two arms that the run's plan no longer compares are left out: they may be of replies that are no longer
    there. ``level`` defaults to the run's own parameter. ``stage``: by the plan that this stage recorded, where several
    plans share a folder. Raises InputError if a file is damaged.
    """
    root = Path(root)
    folders = seed_folders(root)
    first = next(iter(folders.values()))
    facts: dict[str, Any] = RunFolder(root).facts or RunFolder(first).facts
    if stage:
        facts = {name: each for name, each in facts.items() if name == stage or not each.get("parameters")}
    recorded_parameters: dict[str, Any] = {}
    for each in facts.values():
        recorded_parameters |= each.get("parameters", {})
    # Verdicts of a judge that the run no longer has are not its results; people's are.
    judged = recorded_parameters.get("judge", {}).get("kind") != "none"
    folders_judged = {seed: folder / "verdicts" for seed, folder in folders.items()} if judged else {}
    parts = sorted({path.name for folder in folders_judged.values() for path in folder.glob("*") if path.is_dir()})
    planned = {(each["arm_1"], each["arm_2"]) for study in _studies(facts) for each in study.get("contrasts", ())}
    hosted = recorded_parameters.get("generation", {}).get("replies", {})

    def compared(folder: Path) -> list[Verdict]:
        return [
            each
            for each in _verdicts(folder)
            if not planned or (each.arm_1, each.arm_2) in planned | {GOLD} or each.arm_2 in hosted
        ]

    verdicts = {
        seed: (compared(folder / "verdicts") if judged else []) + _verdicts(folder / "people")
        for seed, folder in folders.items()
    }
    if root not in folders.values():
        verdicts[min(folders)] += _verdicts(root / "people")
    table_paths = [path for path in sorted((root / "tables").glob("*.csv")) if path.stat().st_size]
    return Results(
        name=root.resolve().name,
        root=root,
        verdicts=verdicts,
        pairs=_pairs(root) or _pairs(first),
        replies={seed: _replies(folder) for seed, folder in folders.items()},
        metrics=_metrics(first),
        facts=facts,
        parameters=recorded_parameters,
        level=level or recorded_parameters.get("report", {}).get("level", 0.95),
        parts={
            part: {
                seed: (compared if part == TRANSFER else _verdicts)(folder / part)
                for seed, folder in folders_judged.items()
            }
            for part in parts
        },
        tables={path.stem: pd.read_csv(path) for path in table_paths},
    )


def recorded(facts: dict[str, Any]) -> Plan:
    """The plan in a run's facts (``RunFolder.facts``): the arms of all stages, the contrasts of the one that judged.

    Empty if no stage recorded one.
    """
    studies = _studies(facts)
    if not studies:
        return Plan.model_construct(arms={})
    arms = {name: arm for study in studies for name, arm in study["arms"].items()}
    last = max(studies, key=lambda study: len(study.get("contrasts", ())))
    ordered = [name for name in last["arms"]] + [name for name in arms if name not in last["arms"]]
    return Plan.model_validate(last | {"arms": {name: arms[name] for name in ordered}})


def _studies(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """The section ``study`` of every stage that recorded one."""
    return [study for stage in facts.values() if (study := stage.get("parameters", {}).get("study"))]


def seed_folders(root: Path) -> dict[int, Path]:
    """The folders of a run's training seeds; the run's own, as seed 0, if it has none."""
    found = {
        int(path.name.removeprefix("seed-")): path
        for path in root.glob("seed-*")
        if path.name.removeprefix("seed-").isdigit() and any((path / kept).is_dir() for kept in ("verdicts", "scores"))
    }
    return dict(sorted(found.items())) or {0: root}


def _verdicts(folder: Path) -> list[Verdict]:
    return [row for path in sorted(folder.glob("*.jsonl")) for row in read_rows(path, Verdict)]


def _replies(folder: Path) -> dict[str, list[Reply]]:
    return {path.stem: read_rows(path, Reply) for path in sorted((folder / "replies").glob("*.jsonl"))}


def _pairs(folder: Path) -> dict[str, PreferencePair]:
    found: dict[str, PreferencePair] = {}
    for path in sorted((folder / "data").glob("*.jsonl")):
        with path.open(encoding="utf-8", errors="replace") as stream:
            first = stream.readline()
        if '"chosen":' in first and '"conversation_id":' in first:
            found |= {row.id: row for row in read_rows(path, PreferencePair)}
    return found


def _metrics(folder: Path) -> dict[str, pd.DataFrame]:
    found = {}
    for path in sorted((folder / "models").glob(f"*/{METRICS}")):
        rows = pd.DataFrame(read_metrics(path.parent))
        if "step" in rows:
            found[path.parent.name] = rows
    return found
