"""Paper B's three tasks, from the hub or from local files of the same form: dialogue, summaries, instructions.

Every task gives ``Example`` s: a prompt as text, and replies that follow it verbatim (leading space included). A row
that cannot be split into one prompt and two different replies is left out.
"""

from guardalign.data.tasks.alpaca_eval import Instruction, load_instructions
from guardalign.data.tasks.hh import load_hh
from guardalign.data.tasks.tldr import load_tldr

__all__ = ["Instruction", "load_hh", "load_instructions", "load_tldr"]
