"""AlpacaEval's instructions with a baseline's outputs (Li et al. 2023): prompts to be answered, nothing to train on."""

from __future__ import annotations

from guardalign.data.conversations import Row
from guardalign.data.tasks.hh import ASSISTANT, HUMAN
from guardalign.data.tasks.rows import read, texts
from guardalign.errors import InputError

HUB = "hf://datasets/tatsu-lab/alpaca_eval/alpaca_eval_gpt4_baseline.json"
"""AlpacaEval 2.0: 805 instructions, answered by gpt4_1106_preview. (The data set's name alone needs a script.)"""


class Instruction(Row):
    """An instruction, where it comes from, and the baseline's answer to it (``generator`` names the baseline)."""

    id: str
    dataset: str
    instruction: str
    output: str
    generator: str

    @property
    def prompt(self) -> str:
        """The instruction as a single-turn dialogue, the form that HH's models are trained on."""
        return f"{HUMAN} {self.instruction}{ASSISTANT}"


def load_instructions(source: str = HUB) -> list[Instruction]:
    """AlpacaEval's own format: ``dataset``, ``instruction``, ``output``, ``generator``, in its order.

    Raises InputError if a column is missing or an instruction occurs twice (annotations are joined by it).
    """
    names = ("dataset", "instruction", "output", "generator")
    found = [
        Instruction(id=f"alpaca-{number}", **dict(zip(names, texts(row, number, *names), strict=True)))
        for number, row in enumerate(read(source))
    ]
    known = {each.instruction for each in found}
    if len(known) < len(found):
        raise InputError(f"{source}: {len(found) - len(known)} instructions occur twice")
    return found
