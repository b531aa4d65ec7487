"""The published numbers, as data, and how the papers write the arms' names.

A: "Alignment For Performance Improvement in Conversation Bots", arXiv 2406.18954, Table 1 (overall win rates, GPT-4 as
judge; a win is "better or both acceptable"; no number of prompts and no interval is given).
B: S. W. Koh, "Comparative Analysis of Preference-Informed Alignment Techniques for Language Model Alignment", Stanford
CS224N, Table 3 (win rates in %, 128 samples a cell on HH and TL;DR; AlpacaEval 2.0 by its own annotator).
"""

from __future__ import annotations

import re

import pandas as pd

PAPER_A = "paper A (arXiv 2406.18954), Table 1"
PAPER_B = "paper B (Koh, CS224N), Table 3"
B_SAMPLES = 128
B_METHODS = {
    "sft": "SFT", "ppo_offline": "PPO", "dpo": "DPO", "slic": "SLiC", "ipo_sum": "IPO", "kto": "KTO (logistic)",
    "kto_tanh": "KTO (tanh)",
}  # fmt: skip
"""Methods that paper B has, as its Table 3 calls them."""


PANELS = {
    "4a": ("M_1SFT", "M_1SFT_ipo"),
    "4b": ("M_2SFT", "M_1SFT_ipo"),
    "4c": ("M_1SFT", "M_ipo"),
    "4d": ("M_ipo", "M_kto"),
    "3a": ("N_1SFT", "N_1SFT_ipo"),
    "3b": ("N_1SFT_ipo", "N_1SFT_kto"),
}
"""The two arms that each panel of paper A's Figures 4 and 3 compares."""

_TABLE_1 = (
    ("Flow 1", "4a", "M_1SFT", 70.4, 47.7, 95.8),
    ("Flow 1", "4a", "M_1SFT_ipo", 76.9, 65.5, 92.8),
    ("Flow 1", "4b", "M_2SFT", 69.2, 50.6, 94.7),
    ("Flow 1", "4b", "M_1SFT_ipo", 74.2, 64.6, 91.4),
    ("Flow 2", "3a", "N_1SFT", 72.3, 58.1, 98.2),
    ("Flow 2", "3a", "N_1SFT_ipo", 79.4, 76.4, 93.3),
)

_TABLE_3 = (
    ("SFT", 51.8, 20.7, 13.0),
    ("PPO", 59.6, 44.2, 13.6),
    ("DPO", 71.4, 53.8, 31.0),
    ("SLiC", 57.3, 23.9, 17.4),
    ("IPO", 65.8, 43.6, 20.7),
    ("KTO (logistic)", 59.5, 40.7, 16.8),
    ("KTO (tanh)", 59.5, 42.1, 18.1),
)


def table_1() -> pd.DataFrame:
    """Paper A's Table 1: flow, panel, arm, adherence, naturalness, hallucination (win rates in %)."""
    return pd.DataFrame(_TABLE_1, columns=["flow", "panel", "arm", "adherence", "naturalness", "hallucination"])


def table_3() -> pd.DataFrame:
    """Paper B's Table 3: method, hh, tldr, alpaca_eval (win rates in %), and for hh and tldr ``_low`` and ``_high``.

    The intervals are not the paper's: they are Wilson's 95 % intervals for its 128 samples.
    """
    from statsmodels.stats.proportion import proportion_confint

    table = pd.DataFrame(_TABLE_3, columns=["method", "hh", "tldr", "alpaca_eval"])
    for name in ("hh", "tldr"):
        low, high = proportion_confint(table[name] / 100 * B_SAMPLES, B_SAMPLES, method="wilson")
        table[f"{name}_low"], table[f"{name}_high"] = 100 * low, 100 * high
    return table


def panel(arm_1: str, arm_2: str) -> str:
    """Which panel of paper A's figures compares these arms in this order ("" if none does)."""
    return next((name for name, arms in PANELS.items() if arms == (arm_1, arm_2)), "")


_ARM = re.compile(r"(?P<letter>[MN])(?:_(?P<stage>\d?SFT))?(?:_(?P<method>[a-z]+))?")


def mathtext(arm: str) -> str:
    """The paper's notation for matplotlib: ``M_1SFT_ipo`` → ``$M_{1SFT}^{ipo}$``; other names as they are."""
    found = _ARM.fullmatch(arm)
    if not found:
        return arm.replace("$", r"\$")
    stage = rf"_{{\mathrm{{{found['stage']}}}}}" if found["stage"] else ""
    method = rf"^{{\mathrm{{{found['method']}}}}}" if found["method"] else ""
    return f"${found['letter']}{stage}{method}$"


def notation(arm: str) -> tuple[str, str, str]:
    """The parts of an arm's name: letter (or whole name), subscript, superscript."""
    found = _ARM.fullmatch(arm)
    return (found["letter"], found["stage"] or "", found["method"] or "") if found else (arm, "", "")
