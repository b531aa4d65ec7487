"""Name and look of every arm, the same in all figures: one colour per method, one marker and line per start.

Colours are Okabe & Ito's (distinguishable with any colour vision); in grey, marker and line distinguish arms.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Collection, Iterable
from typing import NamedTuple

from guardalign.papers import notation
from guardalign.report.figures.style import wrap

METHODS = {
    "sft": "SFT", "sft_longer": "SFT, longer", "ipo": "IPO", "ipo_sum": "IPO (sum)", "ipo_mean": "IPO (mean)",
    "kto": "KTO", "kto_pair": "KTO (pairs)", "kto_tanh": "KTO (tanh)", "kto_doubled": "KTO at 2β", "dpo": "DPO",
    "slic": "SLiC", "hinge": "hinge (RSO)", "rpo": "RPO", "ppo_offline": "PPO (offline)",
    "ppo_later": "PPO, later form", "rlhf": "RLHF (online)",
}  # fmt: skip
"""Display names of methods, and of arms named after one."""
PLAIN = {
    "base": "base model", "M_1SFT": "SFT", "M_2SFT": "SFT, 2 epochs", "N_1SFT": "SFT (Flow 2)",
    "N_1SFT_data": "SFT then IPO on the data’s rejected replies", "N_1SFT_sft": "SFT then SFT on the kept pairs",
    "N_data": "SFT then IPO on the data’s rejected replies", "N_sft": "SFT then SFT on the kept pairs",
    "chosen": "the data’s chosen reply", "rejected": "the data’s rejected reply",
}  # fmt: skip
COLOURS = {
    "base": "#7d858e", "chosen": "#7d858e", "rejected": "#7d858e", "sft": "#0072b2", "ipo": "#d55e00",
    "data": "#d55e00", "kto": "#009e73", "dpo": "#b0578d", "slic": "#b07a00", "hinge": "#b07a00", "rpo": "#3a93c2",
    "ppo": "#7a5c2e", "rlhf": "#7f3c8d",
}  # fmt: skip
"""By the first part of a method's name."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "p", "h")
LINES: tuple[str | tuple[int, tuple[int, ...]], ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
_STARTS = {"M_1SFT": 0, "M": 1, "M_2SFT": 2, "N_1SFT": 3, "N_1SFT_data": 4, "N_1SFT_sft": 5, "base": 6}
_ALIGNED = re.compile(r"(?P<start>M_1SFT|N_1SFT|M|N)_(?P<method>[a-z]+)")


class Look(NamedTuple):
    colour: str
    marker: str
    line: str | tuple[int, tuple[int, ...]]


TASKS = tuple(Look(*each) for each in zip(("#0072b2", "#d55e00", "#009e73", "#b0578d"), MARKERS, LINES, strict=False))
"""Looks of lines that are not arms."""


def plain(arm: object) -> str:
    """Display name of an arm: ``M_1SFT_ipo`` → SFT then IPO; other names stay as they are."""
    name = str(arm)
    known, found = (PLAIN | METHODS).get(name, name), _ALIGNED.fullmatch(name)
    if known != name or not found:
        return known
    method = METHODS.get(found["method"], found["method"].upper())
    if found["start"] == "M":
        return f"{method} without SFT"
    return f"SFT then {method}" + (" (Flow 2)" if found["start"].startswith("N") else "")


def named(arm: object, marks: Collection[str] = (), characters: int = 28) -> str:
    """``plain``, wrapped, with a warning sign if the arm is one of ``marks``, the collapsed arms."""
    return wrap(plain(arm) + (" ⚠" if arm in marks else ""), characters)


def warning(arms: Iterable[str], marks: Collection[str]) -> str:
    """The meaning of the warning sign, for the caption of a figure of ``arms``; "" if none is marked."""
    return " ⚠: a fifth or more of the arm’s replies is cut off, repeats itself or is empty." * bool({*arms} & {*marks})


def look(arm: str) -> Look:
    """Colour by the method, marker and line by what the arm started from or, of other names, by the name itself."""
    found = _ALIGNED.fullmatch(arm)
    method = found["method"] if found else "sft" if notation(arm)[1] else arm
    mixed = zlib.crc32(arm.encode())
    colour = _colour(method) or list(COLOURS.values())[mixed % len(COLOURS)]
    variants = [each for each in METHODS if _colour(each) == colour]
    start = found["start"] if found and arm not in _STARTS else arm
    index = _STARTS.get(start, variants.index(arm) if arm in variants else mixed)
    return Look(colour, MARKERS[index % len(MARKERS)], LINES[index % len(LINES)])


def _colour(method: str) -> str | None:
    return next((each for name, each in COLOURS.items() if method.startswith(name)), None)


def looks(arms: Iterable[str]) -> dict[str, Look]:
    """The looks of the arms of one figure: two of one colour never share a marker, nor a line while lines last."""
    chosen: dict[str, Look] = {}
    for arm in dict.fromkeys(arms):
        colour, marker, line = look(arm)
        taken = {each[:2] for each in chosen.values()}
        free = [(own, each) for own in dict.fromkeys((colour, *COLOURS.values())) for each in (marker, *MARKERS)]
        colour, marker = next((each for each in free if each not in taken), (colour, marker))
        used = {each.line for each in chosen.values() if each.colour == colour}
        chosen[arm] = Look(colour, marker, next((each for each in (line, *LINES) if each not in used), line))
    return chosen
