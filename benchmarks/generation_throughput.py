"""How fast replies come: a conversation's prefix computed once, against ``model.generate`` on every prompt.

    OMP_NUM_THREADS=2 python benchmarks/generation_throughput.py [--shape embedded] [--samples 1 8] [--small]

A random model answers conversations of 1 to 10 points: a preamble that all share, guardrails, then user messages and
replies. With several samples per prompt, replies are drawn at temperature 1 and share the prompt as well. Nothing ends
early, so both ways make the same number of tokens. Medians of wall-clock and processor seconds (the latter for busy
machines), their ratios, and the share of replies that agree (random weights have near-ties, so not all need to). Writes
``generation_throughput-<machine>-<shape>.json`` to ``--results``; the figures of ``--small`` say nothing.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import MistralConfig, MistralForCausalLM, PreTrainedModel

from guardalign.files import write_text
from guardalign.generation.decoding import Completion, Sampler, decode_plain, decode_shared
from guardalign.generation.replies import batched_trunks
from guardalign.generation.trunks import plan_trunks
from training_throughput import RESULTS, SHAPES, machine

VOCABULARY = 512  # as many as every shape has
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


def make_model(shape: str) -> PreTrainedModel:
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    config = MistralConfig(**SHAPES[shape], max_position_embeddings=4096, sliding_window=None, initializer_range=0.1)
    with torch.device(device):
        dtype = torch.bfloat16 if device == "cuda" else torch.float32
        return MistralForCausalLM._from_config(config, dtype=dtype).eval()


def timed(run: Callable[[], dict[int, Completion]], repeats: int) -> tuple[float, float, dict[int, Completion]]:
    """Median wall-clock seconds, median processor seconds, and the replies."""
    wall, processor = [], []
    for _ in range(repeats):
        start = time.perf_counter(), time.process_time()
        replies = run()
        wall.append(time.perf_counter() - start[0])
        processor.append(time.process_time() - start[1])
    return statistics.median(wall), statistics.median(processor), replies


def compare(model: PreTrainedModel, count: int, samples: int, limit: int, batch: int, repeats: int) -> dict[str, Any]:
    """Both ways of decoding ``samples`` replies of ``limit`` tokens to each of ``count`` prompts."""
    given, conversations = make_prompts(count)
    prompts = [each for each in given for _ in range(samples)]
    groups = [each for each in conversations for _ in range(samples)]
    draws = torch.rand(len(prompts), limit, generator=torch.Generator().manual_seed(0))
    sampler = Sampler(1.0, draws) if samples > 1 else Sampler()
    trunks = plan_trunks(prompts, groups)

    def shared() -> dict[int, Completion]:
        replies: dict[int, Completion] = {}
        for each in batched_trunks(trunks, batch):
            replies |= decode_shared(model, each, limit, (), sampler)
        return replies

    def plain() -> dict[int, Completion]:
        replies: dict[int, Completion] = {}
        order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
        for start in range(0, len(order), batch):
            each = {index: prompts[index] for index in order[start : start + batch]}
            replies |= decode_plain(model, each, limit, (), sampler)
        return replies

    fast, fast_processor, replies = timed(shared, repeats)
    slow, slow_processor, others = timed(plain, repeats)
    return {
        "prompts": count,
        "samples": samples,
        "prompt_tokens": sum(map(len, prompts)),
        "computed_prompt_tokens": sum(len(trunk.tokens) + len(trunk.branches) for trunk in trunks),
        "new_tokens": limit,
        "batch_size": batch,
        "shared_replies_a_second": len(prompts) / fast,
        "plain_replies_a_second": len(prompts) / slow,
        "ratio": slow / fast,
        "processor_ratio": slow_processor / fast_processor,
        "equal": sum(replies[index] == others[index] for index in replies) / len(replies),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--limit", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--samples", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--shape", choices=SHAPES, default="embedded")
    parser.add_argument("--small", action="store_true", help="a rehearsal with a little model")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    if options.small:
        options.shape, options.repeats, options.prompts, options.limit = "rehearsal", 1, 12, 4
    facts = machine()
    results: dict[str, Any] = {"machine": facts, "shape": options.shape, "rows": []}
    slug = "".join(c if c.isalnum() else "-" for c in facts["name"].lower()).strip("-")
    path = options.results / f"generation_throughput-{slug}-{facts['cores']}-{options.shape}.json"
    options.results.mkdir(exist_ok=True)
    model = make_model(options.shape)
    for samples in options.samples:
        count = max(options.prompts // samples, 1)
        row = compare(model, count, samples, options.limit, options.batch_size, options.repeats)
        results["rows"].append(row)
        print(json.dumps(row), flush=True)
        write_text(path, json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
