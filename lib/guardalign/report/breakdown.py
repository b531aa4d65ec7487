"""Where arms differ: on guardrails whose kind, wording or domain training had or lacked, by turn and by kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import pandas as pd

from guardalign import stats
from guardalign.data.conversations import PreferencePair, Reply
from guardalign.generation.replystats import canned
from guardalign.judging.rules.catalogue import read_guardrail
from guardalign.world.kinds import read_rule

UNDUE = "condition not met"
PARTS = {
    "known": "kinds and wordings of training",
    "wording": "wordings not in training",
    "kind": "kinds not in training",
    "transfer": "domain not in training",
    "first": "first agent turn",
    "later": "later agent turns",
    UNDUE: "conditions not met (kept: not applied)",
}
"""Parts of the applications in the order of tables and figure; the first six leave out conditions that are not met."""
UNSEEN = ("wording", "kind", "transfer")


def labels(pairs: Sequence[PreferencePair]) -> pd.DataFrame:
    """A row per guardrail of each test and transfer prompt: pair_id, number (from 1), ``seen`` and ``turn`` ("first",
    "later").

    ``seen``: "transfer" for transfer prompts; "known" if the training pairs have the guardrail's kind and wording,
    "wording" if they lack the wording, "kind" if they lack the kind; "" if no rule reads the guardrail.
    """
    trained = {text for pair in pairs if pair.split in ("train", "feedback") for text in pair.guardrails}
    wordings = {reading for text in trained for reading in _readings(text)}
    kinds = {kind for kind, _ in wordings}

    def seen(readings: set[tuple[str, int]]) -> str:
        if not readings:
            return ""
        if readings & wordings:
            return "known"
        return "wording" if any(kind in kinds for kind, _ in readings) else "kind"

    rows = [
        (pair.id, number, "transfer" if pair.split == "transfer" else seen(_readings(text)),
         "later" if any(turn.role == "agent" for turn in pair.turns) else "first")
        for pair in pairs
        if pair.split in ("test", "transfer")
        for number, text in enumerate(pair.guardrails, start=1)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["pair_id", "number", "seen", "turn"])


def _readings(text: str) -> set[tuple[str, int]]:
    """A guardrail's kind and wording as the care corpus has them, and as the embedded world does."""
    rule, known = read_guardrail(text), read_rule(text)
    found = {(rule.kind.key, rule.wording)} if rule else set()
    return found | ({(f"world: {known.kind.key}", known.wording)} if known else set())


def parts(
    statuses: pd.DataFrame, guardrail_labels: pd.DataFrame, contrasts: Sequence[tuple[str, str]], level: float = 0.95
) -> pd.DataFrame:
    """``stats.exchanged`` for every part of the applications that has any, with the shares that both arms keep.

    ``statuses`` are ``stats.statuses`` of test and transfer prompts, ``guardrail_labels`` their ``labels``. Columns:
    part, arm_1, arm_2, judge, applications, gained, lost, net, net_low, net_high, kept_1, kept_2, conversations, seeds.
    """
    rows = statuses.merge(guardrail_labels, on=["pair_id", "number"], how="left")
    found = []
    for part in PARTS:
        # First and later turns are of the test split; a transfer prompt is in one part alone.
        at_turn = (rows["turn"] == part) & (rows["seen"] != "transfer")
        part_rows = rows[rows["undue"] if part == UNDUE else ((rows["seen"] == part) | at_turn) & ~rows["undue"]]
        if part_rows.empty:
            continue
        kept = stats.adherence(part_rows, level).set_index("arm")["kept"]
        table = stats.exchanged(part_rows, contrasts, level)
        found.append(table.assign(part=part, kept_1=table["arm_1"].map(kept), kept_2=table["arm_2"].map(kept)))
    columns = ["part", "arm_1", "arm_2", "judge", "applications", "gained", "lost", "net", "net_low", "net_high"]
    columns += ["kept_1", "kept_2", "conversations", "seeds"]
    return pd.concat(found, ignore_index=True)[columns] if found else pd.DataFrame(columns=columns)


def transfer(
    statuses: pd.DataFrame, guardrail_labels: pd.DataFrame, contrasts: Sequence[tuple[str, str]], level: float = 0.95
) -> pd.DataFrame:
    """How much less arm 2 gains on a part of ``UNSEEN`` than on known guardrails: a row per contrast and part.

    Arguments as in ``parts``. Columns: part, arm_1, arm_2, judge, less, less_low, less_high, conversations, seeds. Both
    gains (``net`` of ``parts``) are of the same conversations, so the interval is of the mean of the difference's
    linearisation over applications.
    """
    rows = statuses[~statuses["undue"]].merge(guardrail_labels, on=["pair_id", "number"])
    keys = ["judge", "seed", "conversation_id", "pair_id", "number", "seen"]
    wide, found = rows.pivot_table(index=keys, columns="arm", values="kept"), []
    for (one, two), part in product(contrasts, UNSEEN):
        change = (wide[two] - wide[one]).dropna().rename("net").reset_index()
        part_changes = change[change["seen"].isin(["known", part])]
        there, gain = part_changes["seen"] == part, part_changes.groupby("seen")["net"].transform("mean")
        if there.any() and not there.all():
            weight = np.where(there, -1 / there.mean(), 1 / (1 - there.mean()))
            less = gain[~there].iloc[0] - gain[there].iloc[0] + weight * (part_changes["net"] - gain)
            table = stats.means(part_changes.assign(less=less), ["judge"], {"less": stats.UNBOUNDED}, level)
            found.append(table.assign(part=part, arm_1=one, arm_2=two))
    columns = ["part", "arm_1", "arm_2", "judge", "less", "less_low", "less_high", "conversations", "seeds"]
    return pd.concat(found, ignore_index=True)[columns] if found else pd.DataFrame(columns=columns)


def by_kind(statuses: pd.DataFrame, contrast: tuple[str, str]) -> pd.DataFrame:
    """Applications that arm 2 gains and loses against arm 1 by kind of guardrail, the largest net change first.

    Columns: guardrail, applications, gained, lost, net (per application).
    """
    keys = ["guardrail", "judge", "seed", "pair_id", "number"]
    wide = statuses.pivot_table(index=keys, columns="arm", values="kept")
    if not set(contrast) <= set(wide):
        return pd.DataFrame(columns=["guardrail", "applications", "gained", "lost", "net"])
    change = (wide[contrast[1]] - wide[contrast[0]]).dropna()
    table = pd.DataFrame({
        "applications": change.groupby("guardrail").size(),
        "gained": change.clip(lower=0).groupby("guardrail").sum(),
        "lost": (-change.clip(upper=0)).groupby("guardrail").sum(),
        "net": change.groupby("guardrail").mean(),
    })  # fmt: skip
    return table.sort_values("net", key=abs, ascending=False, kind="stable").reset_index()


def phrases(replies: Mapping[int, Mapping[str, Sequence[Reply]]]) -> pd.DataFrame:
    """Columns arm and ``canned``: the share of its replies that hold a canned phrase, a mean over seeds.

    ``replies`` are by seed and arm.
    """
    rows = [{"arm": arm, "canned": canned(each)} for by_arm in replies.values() for arm, each in by_arm.items()]
    return pd.DataFrame(rows, columns=["arm", "canned"]).groupby("arm", sort=False).mean().reset_index()
