"""What the arms of the comparison are called in figures and sentences."""

from __future__ import annotations

from guardalign import papers

OTHERS = {
    "ipo_mean": "IPO (mean)",
    "kto_pair": "KTO pair",
    "rpo": "RPO",
    "kto_doubled": "KTO at 2β",
    "ppo_later": "PPO, later form",
    "hinge": "hinge (RSO)",
    "sft_longer": "SFT, longer",
    "rlhf": "RLHF (online)",
}


def label(arm: object) -> str:
    """Paper B's name of an arm; of arms that the paper does not have, the field's; of others, their own."""
    return (papers.B_METHODS | OTHERS).get(str(arm), str(arm))
