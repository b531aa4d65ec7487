"""Verdicts by hand: so many of each bin."""

from __future__ import annotations

from guardalign.judging.verdicts import BINS, DimensionVerdict, Verdict

ACCEPTABLE = {"1 better": (True, False), "both": (True, True), "none": (False, False), "2 better": (False, True)}


def verdict(bin_, pair="p", conversation="c", order="12", preference=None, arms=("a", "b"), judge="j", invalid=None):
    if invalid:
        return Verdict(pair_id=pair, conversation_id=conversation, arm_1=arms[0], arm_2=arms[1], judge=judge,
                       order=order, invalid=invalid)  # fmt: skip
    one, two = ACCEPTABLE[bin_]
    preferred = preference or {"1 better": "1", "2 better": "2"}.get(bin_, "tie")
    judgement = DimensionVerdict(acceptable_1=one, acceptable_2=two, preference=preferred)
    return Verdict(pair_id=pair, conversation_id=conversation, arm_1=arms[0], arm_2=arms[1], judge=judge, order=order,
                   dimensions={"adherence": judgement})  # fmt: skip


def many(counts, arms=("a", "b"), judge="j", per_conversation=1):
    bins = [name for name, count in zip(BINS, counts, strict=True) for _ in range(count)]
    return [
        verdict(name, f"p{index}", f"c{index // per_conversation}", arms=arms, judge=judge)
        for index, name in enumerate(bins)
    ]
