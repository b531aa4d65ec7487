"""The tree is usable without the rest of the package."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path

import torch

from tiny import make_model

ALONE = """
import sys
from importlib.abc import MetaPathFinder

class Refuses(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.startswith("guardalign.") and not name.startswith("guardalign.tree"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Refuses())
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from guardalign.tree import TokenSequence, TreeScorer, tree_row
import guardalign.tree.trl

shape = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=20)
model = LlamaForCausalLM(LlamaConfig(**shape))
row = tree_row([TokenSequence([3, 4, 5, 6], 2), TokenSequence([3, 4, 7], 2)])
sums = row.sums(TreeScorer(model)(row).policy)
sums.sum().backward()
expected = model(torch.tensor([[3, 4]])).logits[0, -1].log_softmax(-1)[7]
torch.testing.assert_close(sums[1], expected)
print(sums.shape)
"""


def test_it_imports_and_scores_with_the_rest_of_the_package_blocked():
    done = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True)
    assert done.stdout.strip().endswith("torch.Size([2])"), done.stderr


def test_the_loop_of_the_documentation_takes_dpos_steps():
    page = (Path(__file__).parents[2] / "docs" / "tree.md").read_text(encoding="utf-8")
    loop = page.partition("```python\n")[2].partition("```")[0]
    model, frozen = make_model("llama", 40), make_model("llama", 40)
    ours, theirs = copy.deepcopy(model), copy.deepcopy(model)
    batches = [[([3, 4, 5, 6], [7, 2], [8, 9, 2]), ([3, 4, 5, 6, 7, 2, 10], [11, 2], [2])]] * 2
    exec(
        loop, {"model": ours, "frozen": frozen, "batches": batches, "optimizer": torch.optim.SGD(ours.parameters(), 1)}
    )
    optimizer = torch.optim.SGD(theirs.parameters(), 1)
    for batch in batches:
        margins = [_log_ratio(theirs, frozen, p, c) - _log_ratio(theirs, frozen, p, r) for p, c, r in batch]
        (-torch.nn.functional.logsigmoid(0.1 * torch.stack(margins)).mean()).backward()
        optimizer.step()
        optimizer.zero_grad()
    moved = 0.0
    for first, a, b in zip(model.parameters(), ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)
        moved = max(moved, float((a - first).abs().max()))
    assert moved > 1e-3


def _log_ratio(policy: torch.nn.Module, frozen: torch.nn.Module, prompt: list[int], reply: list[int]) -> torch.Tensor:
    ids = torch.tensor([prompt + reply])
    where = torch.arange(len(prompt), ids.shape[1])
    a, b = (m(ids).logits[0].log_softmax(-1)[where - 1, ids[0, where]].sum() for m in (policy, frozen))
    return a - b.detach()
