from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guardalign.tree.block_attention import GRAIN, attend_in_blocks, query_blocks
from guardalign.tree.prefix_tree import TokenSequence, TreeError, pack, tree_row
from guardalign.tree.scoring import TreeScorer
from guardalign.tree.tree_attention import TreeMask, attend, flex_mask
from tests.tree.test_architectures import row_by_row
from tiny import make_model

VOCABULARY = 40


def sequence(*tokens: int, start: int = 1) -> TokenSequence:
    return TokenSequence(np.array(tokens), start)


@st.composite
def forests(draw: st.DrawFn) -> list[TokenSequence]:
    """Sequences grown from each other's prefixes: shared, nested, identical and unrelated ones, short and long."""
    token = st.integers(3, VOCABULARY - 1)
    found: list[list[int]] = []
    for _ in range(draw(st.integers(1, 7))):
        stem: list[int] = []
        if found and draw(st.booleans()):
            other = draw(st.sampled_from(found))
            stem = other[: draw(st.integers(0, len(other)))]
        tail = draw(st.lists(token, min_size=2 if not stem else 0, max_size=12))
        tokens = stem + tail
        if len(tokens) < 2:
            tokens = [*tokens, draw(token)] if tokens else [draw(token), draw(token)]
        found.append(tokens)
    return [TokenSequence(np.array(tokens), draw(st.integers(1, len(tokens) - 1))) for tokens in found]


def gradients(model: torch.nn.Module) -> torch.Tensor:
    flat = torch.cat([w.grad.flatten() for w in model.parameters() if w.grad is not None])
    model.zero_grad(set_to_none=True)
    return flat


def assert_close(a: torch.Tensor, b: torch.Tensor) -> None:
    assert float((a - b).norm()) <= 1e-4 * max(float(b.norm()), 1e-6)


MODEL = make_model("qwen3", VOCABULARY).eval()


@given(sequences=forests(), block=st.sampled_from([1, 3, 8, 128]), budget=st.sampled_from([26, 40, 1000]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_scores_loss_and_gradients_equal_row_by_row(sequences, block, budget):
    weights = torch.linspace(-1, 1.3, len(sequences))
    budget = max(budget, *(len(s.tokens) for s in sequences))  # a longer sequence is refused, as below

    MODEL.set_attn_implementation("eager")
    expected = row_by_row(MODEL, sequences).split([s.completion_length for s in sequences])
    loss = sum(w * (x.sum() + x.mean() ** 2) for w, x in zip(weights, expected, strict=True))
    loss.backward()
    expected_gradients = gradients(MODEL)

    scorer = TreeScorer(MODEL, block=block)
    found: dict[int, torch.Tensor] = {}
    for members in pack(sequences, [[i] for i in range(len(sequences))], budget):
        row = tree_row(sequences, members)
        assert row.unique_tokens <= budget
        scores = scorer(row).policy
        for position, i in enumerate(row.sequences):
            found[i] = scores[row.score_sequence == position]
    for i, x in enumerate(expected):
        assert_close(found[i].detach(), x.detach())
    tree_loss = sum(weights[i] * (x.sum() + x.mean() ** 2) for i, x in sorted(found.items()))
    size = sum(float(x.detach().abs().sum()) for x in expected)  # the weighted sum itself may nearly cancel
    assert float(tree_loss.detach()) == pytest.approx(float(loss.detach()), abs=1e-5 * size)
    tree_loss.backward()
    assert_close(gradients(MODEL), expected_gradients)


@given(sequences=forests(), block=st.integers(1, 20))
@settings(max_examples=60, deadline=None)
def test_the_mask_lets_a_token_see_its_own_past_and_nothing_else(sequences, block):
    row = tree_row(sequences)
    tokens, depth = row.tokens.numpy(), row.depth.numpy()
    past = {tuple(s.tokens[: n + 1]) for s in sequences for n in range(len(s.tokens))}
    assert row.unique_tokens == len(past)
    seen = set()
    for b in query_blocks(row.end, block):
        for q, visible in zip(range(b.start, b.stop), b.mask, strict=True):
            keys = b.keys[visible].numpy()
            assert depth[keys].tolist() == list(range(depth[q] + 1))
            seen.add(tuple(tokens[keys]))
    assert seen == past


def test_a_tree_by_hand():
    #       1 - 2 - 3      (completion 3), its own prefix 1 - 2, and a branch 1 - 5 - 6; 7 - 8 is another root
    row = tree_row([sequence(1, 2, 3, start=2), sequence(1, 5, 6), sequence(1, 2), sequence(7, 8), sequence(7, 8)])
    assert row.tokens.tolist() == [1, 2, 3, 5, 6, 7, 8]
    assert row.depth.tolist() == [0, 1, 2, 1, 2, 0, 1]
    assert row.end.tolist() == [5, 3, 3, 5, 5, 7, 7]
    assert row.predictors.tolist() == [0, 1, 3, 5]
    assert row.edge_token.tolist() == [2, 3, 5, 6, 8]
    assert row.score_edge.tolist() == [1, 2, 3, 0, 4, 4]
    assert (row.unique_tokens, row.logical_tokens) == (7, 12)


def test_a_block_needs_as_many_keys_as_its_first_token_is_deep_whatever_the_width():
    trunk = list(range(3, 23))
    leaves = [TokenSequence(np.array([*trunk, 23 + i, 24, 25, 26]), 20) for i in range(10)]
    row = tree_row(leaves)
    blocks = query_blocks(row.end, 4)
    assert row.unique_tokens == 60 and max(int(b.mask.any(0).sum()) for b in blocks) <= 23 + 4
    assert {len(b.keys) for b in blocks} == {GRAIN}


def test_padding_nodes_attend_to_themselves_only_and_no_node_attends_to_them():
    row = tree_row([sequence(1, 2, 3, 4), sequence(1, 2, 5)]).padded(8)
    assert (len(row.tokens), len(row.predictors)) == (8, 8)
    (block,) = query_blocks(row.end, 8)
    seen = block.mask[:, :8]
    assert torch.equal(seen[5:], torch.eye(8, dtype=torch.bool)[5:]) and not seen[:5, 5:].any()
    assert not block.mask[:, 8:].any()


def test_empty_replies_and_replies_without_a_token_before_them_are_refused():
    for start in (0, 2):
        with pytest.raises(TreeError, match="a completion needs at least one token"):
            sequence(1, 2, start=start)


def test_scores_are_added_up_for_each_sequence():
    row = tree_row([sequence(1, 2, 3), sequence(1, 2), sequence(1, 2, 4, start=2)])
    assert row.sums(torch.tensor([1.0, 2.0, 4.0, 8.0])).tolist() == [3, 4, 8]


def test_groups_stay_whole_and_too_long_ones_are_refused():
    sequences = [sequence(1, 2, 3), sequence(4, 5, 6), sequence(1, 2, 7), sequence(4, 5, 8)]
    rows = pack(sequences, [[0, 1], [2, 3]], budget=6)
    assert sorted(rows) == [[0], [1]]
    assert pack(sequences, [[0, 1], [2, 3]], budget=8) == [[0, 1]]
    with pytest.raises(TreeError, match="6 distinct tokens"):
        pack(sequences, [[0, 1]], budget=5)


@given(sequences=forests())
@settings(max_examples=10, deadline=None)
def test_bf16_attention_agrees_with_fp32_within_its_precision(sequences):
    row = tree_row(sequences)
    torch.manual_seed(0)
    query, key, value = torch.randn(1, 4, row.unique_tokens, 8), *torch.randn(2, 1, 2, row.unique_tokens, 8)
    upstream = torch.randn_like(query)

    def both_ways(dtype: torch.dtype) -> list[torch.Tensor]:
        inputs = [x.detach().clone().to(dtype).requires_grad_() for x in (query, key, value)]
        output = attend_in_blocks(*inputs, query_blocks(row.end, 5), 0.35)
        output.backward(upstream.to(dtype))
        return [output.detach().float(), *(torch.as_tensor(x.grad).float() for x in inputs)]

    for exact, rounded in zip(both_ways(torch.float32), both_ways(torch.bfloat16), strict=True):
        assert float((exact - rounded).norm()) <= 0.03 * max(1.0, float(exact.norm()))


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@given(sequences=forests())
@settings(max_examples=10, deadline=None)
def test_flex_attention_with_the_trees_mask_agrees_with_the_blocks(sequences):
    row = tree_row(sequences)
    torch.manual_seed(0)
    query, key, value = torch.randn(1, 4, row.unique_tokens, 16), *torch.randn(2, 1, 2, row.unique_tokens, 16)
    outputs = [
        attend(torch.nn.Module(), query, key, value, None, tree_mask=mask, scaling=0.25)[0]
        for mask in (TreeMask(blocks=query_blocks(row.end, 4)), TreeMask(flex=flex_mask(row.end)))
    ]
    assert_close(outputs[0], outputs[1])


def test_attention_refuses_dropout():
    x = torch.zeros(1, 1, 2, 4)
    with pytest.raises(TreeError, match="attention_dropout"):
        attend(torch.nn.Module(), x, x, x, None, tree_mask=TreeMask(), dropout=0.1)
