"""How fast replies come: a conversation's prefix computed once, against ``model.generate`` on every prompt.

    OMP_NUM_THREADS=2 python benchmarks/generation_throughput.py [--repeats 3] [--prompts 400] [--limit 40]

A Mistral of the embedded model's shape with random weights answers conversations of 1 to 10 points: a preamble that all
share, guardrails, then user messages and replies. Nothing ends early, so both ways make the same number of tokens.
Prints medians of wall-clock and processor seconds (the latter for busy machines), their ratios, and the share of
replies that agree (random weights have near-ties, so not all need to).
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable

import torch
from transformers import MistralConfig, MistralForCausalLM

from guardalign.generation.decoding import Completion, Sampler, decode_plain, decode_shared, plan_trunks
from guardalign.generation.replies import batched_trunks

VOCABULARY = 2048
PREAMBLE, GUARDRAILS, USER, AGENT = 60, (200, 400), (10, 30), (20, 50)  # tokens


def make_prompts(count: int, seed: int = 0) -> tuple[list[list[int]], list[int]]:
    """Token ids of ``count`` prompts and the number of the conversation of each."""
    rng = random.Random(seed)

    def tokens(low: int, high: int) -> list[int]:
        return [rng.randrange(3, VOCABULARY) for _ in range(rng.randint(low, high))]

    preamble, ending = tokens(PREAMBLE, PREAMBLE), [7, 8]
    prompts: list[list[int]] = []
    groups: list[int] = []
    while len(prompts) < count:
        history = preamble + tokens(*GUARDRAILS)
        conversation = len(prompts)
        for _ in range(min(rng.randint(1, 10), count - len(prompts))):
            history = history + tokens(*USER) + ending
            prompts.append(history)
            groups.append(conversation)
            history = history + tokens(*AGENT)
    return prompts, groups


def make_model() -> MistralForCausalLM:
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=VOCABULARY, hidden_size=256, intermediate_size=688, num_hidden_layers=6, num_attention_heads=8,
        num_key_value_heads=4, max_position_embeddings=4096, sliding_window=None, initializer_range=0.1,
    )  # fmt: skip
    return MistralForCausalLM(config).eval()


def timed(run: Callable[[], dict[int, Completion]], repeats: int) -> tuple[float, float, dict[int, Completion]]:
    """Median wall-clock seconds, median processor seconds, and the replies."""
    wall, processor = [], []
    for _ in range(repeats):
        start = time.perf_counter(), time.process_time()
        replies = run()
        wall.append(time.perf_counter() - start[0])
        processor.append(time.process_time() - start[1])
    return statistics.median(wall), statistics.median(processor), replies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--prompts", type=int, default=400)
    parser.add_argument("--limit", type=int, default=40)
    parser.add_argument("--batch-size", type=int, nargs="+", default=[32])
    parser.add_argument("--skip-plain", action="store_true")
    options = parser.parse_args()
    model, sampler = make_model(), Sampler()
    prompts, groups = make_prompts(options.prompts)
    trunks = plan_trunks(prompts, groups)
    computed = sum(len(trunk.tokens) + len(trunk.branches) for trunk in trunks)
    print(f"{len(prompts)} prompts, {len(trunks)} conversations, {sum(map(len, prompts))} tokens, {computed} distinct")
    print(f"{options.limit} new tokens each, {torch.get_num_threads()} threads")

    def shared(size: int) -> dict[int, Completion]:
        replies: dict[int, Completion] = {}
        for batch in batched_trunks(trunks, size):
            replies |= decode_shared(model, batch, options.limit, (), sampler)
        return replies

    def plain(size: int) -> dict[int, Completion]:
        replies: dict[int, Completion] = {}
        order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
        for start in range(0, len(order), size):
            batch = {index: prompts[index] for index in order[start : start + size]}
            replies |= decode_plain(model, batch, options.limit, (), sampler)
        return replies

    def report(name: str, wall: float, processor: float) -> None:
        print(f"  {name:6} {wall:7.2f} s, {processor:7.2f} s of processor, {len(prompts) / wall:6.1f} replies/s")

    for size in options.batch_size:
        print(f"batch size {size}")
        wall, processor, replies = timed(lambda size=size: shared(size), options.repeats)
        report("shared", wall, processor)
        if options.skip_plain:
            continue
        slow, slow_processor, others = timed(lambda size=size: plain(size), options.repeats)
        report("plain", slow, slow_processor)
        same = sum(replies[index] == others[index] for index in replies) / len(replies)
        print(f"  ratio  {slow / wall:7.1f}    {slow_processor / processor:7.1f}; {same:.1%} of replies equal")


if __name__ == "__main__":
    main()
