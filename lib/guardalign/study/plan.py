"""The plan of a run as its stages recorded it: what the report reads arms, contrasts and seeds from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from guardalign.config.plan import Plan


def recorded(facts: Mapping[str, Any]) -> Plan | None:
    """The plan in a run's facts (``RunFolder.facts``): the arms of all stages, the contrasts of the one that judged.

    None if no stage recorded one.
    """
    told = [stage.get("parameters", {}).get("study") for stage in facts.values() if isinstance(stage, dict)]
    known = [study for study in told if study]
    if not known:
        return None
    arms = {name: arm for study in known for name, arm in study["arms"].items()}
    last = max(known, key=lambda study: len(study.get("contrasts", ())))
    ordered = [name for name in last["arms"]] + [name for name in arms if name not in last["arms"]]
    return Plan.model_validate(last | {"arms": {name: arms[name] for name in ordered}})
