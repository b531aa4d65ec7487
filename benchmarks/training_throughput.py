"""How fast training goes beside TRL's own trainers: same model, data, precision and threads, in one run.

    OMP_NUM_THREADS=1 python benchmarks/training_throughput.py [--rounds 3] [--steps 2] [--shape embedded|mistral-7b]

Each task is measured in rounds that alternate between the engines; a round's ratio is that of the two median step times
(the first step of a round is warm-up), and the table shows the median ratio over rounds. On a CPU with one thread the
time is the process's own CPU time, so that other work on the machine does not count. TRL computes the reference's
log-probs beforehand, uses its fused head and the faster of two micro-batch sizes. Peak memory is a fresh process's
largest resident size (on CUDA the allocator's) beyond what it held with the model and the data loaded. Writes
``benchmarks/results/training_throughput-<machine>.json`` and the plot beside it; ``speed_table.py`` puts it into
docs/scaling.md.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import MistralConfig, MistralForCausalLM, PreTrainedTokenizerFast, TrainerCallback

from guardalign.data.construction import format_prompt
from guardalign.data.conversations import Turn
from guardalign.data.examples import Example
from guardalign.files import write_text
from guardalign.models.encoding import encode
from guardalign.models.loading import load_frozen, load_model, load_tokenizer, without_bars
from guardalign.processes import peak_resident
from guardalign.training import TrainingConfig
from guardalign.training.batches import encode_examples, plan
from guardalign.training.progress import step_metrics
from guardalign.training.reference import LogprobStore, token_logprobs
from guardalign.training.step import StepInput, forward_backward
from guardalign.training.trl_engine import build_trainer
from guardalign.tree.prefix_tree import tree_row
from guardalign.tree.scoring import TreeScorer

RESULTS = Path(__file__).parent / "results"
HH = Path(__file__).resolve().parents[2] / "shared" / "data" / "hh"
SHAPES = {
    "embedded": {"vocab_size": 2048, "hidden_size": 256, "intermediate_size": 688, "num_hidden_layers": 6,
                 "num_attention_heads": 8, "num_key_value_heads": 4, "tie_word_embeddings": True},
    "mistral-7b": {"vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
                   "num_attention_heads": 32, "num_key_value_heads": 8},
}  # fmt: skip
TARGETS = {"ipo": 10.0, "sft": 4.0, "hh dpo": 1.3, "tree / causal": 1.25, "memory": 1.0}


def conversations(count: int, turns: int, seed: int = 0) -> list[Example]:
    """Guardrails of about 450 tokens, user messages of about 20, replies of about 25."""
    letters, rng = random.Random(0), random.Random(seed)
    words = ["".join(letters.choices("abcdefghijklmnoprstuvwy", k=letters.randint(2, 8))) for _ in range(1500)]

    def say(n: int) -> str:
        return " ".join(rng.choices(words, k=n))

    examples = []
    for number in range(count):
        guardrails = [say(17) for _ in range(8)]
        history: list[Turn] = []
        for turn in range(turns):
            history.append(Turn(role="user", text=say(8)))
            chosen, rejected = say(10), say(10)
            prompt = format_prompt(guardrails, history)
            names = {"id": f"{number}-{turn}", "conversation_id": str(number)}
            examples.append(Example(**names, prompt=prompt, chosen=f" {chosen}", rejected=f" {rejected}"))
            history.append(Turn(role="agent", text=chosen))
    return examples


def single_turn_pairs(count: int) -> list[Example]:
    """Helpfulness pairs of one human message each."""
    examples = []
    with gzip.open(HH / "helpful-base_600.jsonl.gz", "rt", encoding="utf-8") as stream:
        for number, line in enumerate(stream):
            row = json.loads(line)
            prompt, mark, chosen = row["chosen"].rpartition("\n\nAssistant:")
            other, _, rejected = row["rejected"].rpartition("\n\nAssistant:")
            if prompt == other and prompt.count("\n\nHuman:") == 1 and chosen.strip() and rejected.strip():
                names = {"id": str(number), "conversation_id": str(number)}
                examples.append(Example(**names, prompt=prompt + mark, chosen=chosen, rejected=rejected))
    return examples[:count]


def make_base(folder: Path, shape: str, texts: Iterable[str]) -> Path:
    """A random model of the shape and a byte-level BPE tokenizer trained on the texts."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    specials = ["<pad>", "<s>", "</s>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    vocabulary = min(SHAPES[shape]["vocab_size"], 2048)
    tokenizer.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=specials, initial_alphabet=alphabet)
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = MistralConfig(
        **SHAPES[shape],
        sliding_window=None,
        max_position_embeddings=4096,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    with without_bars():
        MistralForCausalLM(config).to(torch.bfloat16 if shape != "embedded" else torch.float32).save_pretrained(folder)
    return folder


def config_of(base: Path, folder: Path, method: str, batch: int, precision: str, **more: Any) -> TrainingConfig:
    given: dict[str, Any] = {"options": {"average": "token"}} if method == "sft" else {}
    return TrainingConfig(
        arm="bench", model=str(base), output=folder / f"{time.monotonic_ns()}", method=method, learning_rate=1e-5,
        batch_size=batch, precision=precision, cache=folder / "cache", save_steps=10**6, row_tokens=32768,
        **given, **more,
    )  # fmt: skip


def now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    elif torch.get_num_threads() == 1:
        return time.process_time()
    return time.monotonic()


def tree_seconds(config: TrainingConfig, examples: list[Example]) -> list[float]:
    """The trainer's own steps, one after the other: pack, forward, backward, clip, update, metrics."""
    tokenizer = load_tokenizer(config.model)
    data = encode_examples(tokenizer, examples, config)
    batches = plan(data, config)
    scorer = TreeScorer(load_model(config.model), precision=config.precision)
    weights = list(scorer.parameters())
    optimizer = torch.optim.AdamW(weights, lr=config.learning_rate, fused=True)
    store = LogprobStore(config.reference_cache)
    device = scorer.model.device
    seconds = []
    for batch in batches:
        reference = token_logprobs(store, batch.sequences, lambda: scorer, config.row_tokens)
        start = now()
        given = StepInput(batch, reference if config.loss.reference else None)
        output = forward_backward(scorer, given, config.loss, config.loss_options, config.row_tokens, device)
        torch.nn.utils.clip_grad_norm_(weights, config.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step_metrics(output, config.loss_options, config.loss.reference, embeddings=False)
        seconds.append(now() - start)
    return seconds[1:]


class _Clock(TrainerCallback):
    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self.ends.append(now())


def trl_seconds(config: TrainingConfig, examples: list[Example]) -> list[float]:
    with without_bars():
        trainer = build_trainer(config, examples, load_tokenizer(config.model))
    trainer.args.logging_steps, trainer.args.save_strategy = 10**6, "no"
    clock = _Clock()
    trainer.add_callback(clock)
    trainer.train()
    return [b - a for a, b in zip(clock.ends, clock.ends[1:], strict=False)]


def compare(
    base: Path, folder: Path, method: str, examples: list[Example], batch: int, precision: str, rounds: int, steps: int
) -> dict[str, Any]:
    """Median step seconds of both engines and the median ratio over rounds; an epoch is one step."""
    epochs = 1 + steps

    def ours() -> float:
        return statistics.median(
            tree_seconds(config_of(base, folder, method, batch, precision, epochs=epochs), examples)
        )

    def theirs(micro: int) -> float:
        more = {"engine": "trl", "trl_micro_batch_size": micro, "epochs": epochs}
        told = config_of(base, folder, method, batch, precision, **more)
        return statistics.median(trl_seconds(told, examples))

    tried = {micro: theirs(micro) for micro in {batch, max(batch // 5, 1)}}
    micro = min(tried, key=tried.__getitem__)
    tree, trl = [], []
    for _ in range(rounds):
        tree.append(ours())
        trl.append(tried.pop(micro) if micro in tried else theirs(micro))
    return {
        "tree_seconds_a_step": statistics.median(tree),
        "trl_seconds_a_step": statistics.median(trl),
        "trl_micro_batch": micro,
        "ratio": statistics.median(b / a for a, b in zip(tree, trl, strict=True)),
        "pairs_a_step": batch,
        "tree_pairs_a_second": batch / statistics.median(tree),
        "trl_pairs_a_second": batch / statistics.median(trl),
        **tokens(base, examples, method),
    }


def tokens(base: Path, examples: list[Example], method: str) -> dict[str, float]:
    """Logical and unique tokens of one conversation's worth of pairs, all examples taken together."""
    replies = [e.chosen for e in examples] + ([] if method == "sft" else [str(e.rejected) for e in examples])
    prompts = [e.prompt for e in examples] * (1 if method == "sft" else 2)
    row = tree_row(encode(load_tokenizer(str(base)), prompts, replies))
    return {
        "logical_tokens_a_pair": row.logical_tokens / len(examples),
        "unique_tokens_a_pair": row.unique_tokens / len(examples),
    }


def timed(run: Callable[[], None], repeats: int) -> float:
    run()
    seconds = []
    for _ in range(repeats):
        start = now()
        run()
        seconds.append(now() - start)
    return statistics.median(seconds)


def against_causal(base: Path, examples: list[Example], rounds: int, precision: str) -> dict[str, float]:
    """A tree step's forward and backward pass against one plain causal row of as many tokens and predictions."""
    replies = [e.chosen for e in examples] + [str(e.rejected) for e in examples]
    row = tree_row(encode(load_tokenizer(str(base)), [e.prompt for e in examples] * 2, replies))
    plain = load_frozen(str(base)).requires_grad_(True)
    plain.set_attn_implementation("sdpa")
    scorer = TreeScorer(load_frozen(str(base)).requires_grad_(True), precision=precision)  # type: ignore[arg-type]
    targets = row.edge_token[: len(row.predictors)].to(plain.device)
    ids, where = row.tokens[None].to(plain.device), row.predictors.to(plain.device)

    def tree_step() -> None:
        scorer(row).policy.sum().backward()

    def causal_step() -> None:
        with torch.autocast(plain.device.type, torch.bfloat16, enabled=precision == "bf16"):
            logits = plain(input_ids=ids, logits_to_keep=where, use_cache=False).logits[0]
        torch.log_softmax(logits.float(), -1).gather(1, targets[:, None]).sum().backward()

    pairs = [(timed(tree_step, 3), timed(causal_step, 3)) for _ in range(rounds)]
    return {
        "unique_tokens": row.unique_tokens,
        "tree_seconds": statistics.median(a for a, _ in pairs),
        "causal_seconds": statistics.median(b for _, b in pairs),
        "ratio": statistics.median(a / b for a, b in pairs),
    }


def padded_rows_seconds(base: Path, examples: list[Example], rounds: int, precision: str) -> float:
    """One step (forward and backward of the pairs' log-probs) on plain padded rows of transformers."""
    replies = [e.chosen for e in examples] + [str(e.rejected) for e in examples]
    sequences = encode(load_tokenizer(str(base)), [e.prompt for e in examples] * 2, replies)
    model = load_frozen(str(base)).requires_grad_(True)
    ids = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(s.tokens) for s in sequences], batch_first=True)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones(len(s.tokens)).long() for s in sequences], batch_first=True)
    ids, mask = ids.to(model.device), mask.to(model.device)

    def step() -> None:
        with torch.autocast(model.device.type, torch.bfloat16, enabled=precision == "bf16"):
            logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        log_probs = torch.log_softmax(logits[:, :-1].float(), -1).gather(2, ids[:, 1:, None])[..., 0]
        total = sum(log_probs[i, s.start - 1 : len(s.tokens) - 1].sum() for i, s in enumerate(sequences))
        total.backward()  # type: ignore[union-attr]

    return timed(step, rounds)


def peak_memory(engine: str, base: Path, folder: Path, precision: str, micro: int) -> float:
    """GiB beyond the loaded model and data, in a process of its own: one IPO step of ten pairs and its reference."""
    command = [sys.executable, __file__, "--memory-of", engine, str(base), str(folder), precision, str(micro)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.strip().splitlines()[-1])


def print_peak_memory(engine: str, base: Path, folder: Path, precision: str, micro: int) -> None:
    examples = conversations(1, 10)
    run = tree_seconds if engine == "tree" else trl_seconds
    told = {} if engine == "tree" else {"engine": "trl", "trl_micro_batch_size": micro}
    run(config_of(base, folder, "ipo_mean", 1, precision, **told), examples[:1])  # libraries, optimiser, buffers
    now_held = torch.cuda.memory_allocated if torch.cuda.is_available() else lambda: psutil.Process().memory_info().rss
    before = now_held() / 2**30
    run(config_of(base, folder, "ipo_mean", 10, precision, **told), examples)
    print(_held() - before)


def _held() -> float:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    return peak_resident() / 2**30


def matmul_peak() -> float:
    """TFLOP/s of a large matrix product in the precision the machine trains in."""
    on_gpu = torch.cuda.is_available()
    n, kind = (8192, torch.bfloat16) if on_gpu else (1024, torch.float32)
    a = torch.randn(n, n, dtype=kind, device="cuda" if on_gpu else "cpu")
    return 2 * n**3 / timed(lambda: torch.mm(a, a), 10) / 1e12  # type: ignore[arg-type, return-value]


def machine() -> dict[str, Any]:
    name = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            name = line.partition(":")[2].strip()
            break
    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
    versions = {p: metadata.version(p) for p in ("torch", "transformers", "trl", "accelerate")}
    return {"name": name, "cores": os.cpu_count(), "threads": torch.get_num_threads(), "versions": versions}


def plot(results: dict[str, Any], path: Path) -> None:
    """Speed beside TRL's as bars, seconds by the length of the conversation as lines, into ``path``."""
    import pandas as pd
    import seaborn as sns

    from guardalign.report.figures import style

    rows = pd.DataFrame([row for row in results["tasks"] if "ratio" in row])
    turns = pd.DataFrame(results["turns"]).rename(columns={"trl_seconds": "TRL", "tree_seconds": "prefix tree"})
    turns = turns.melt("turns", ["TRL", "prefix tree"], "engine", "seconds")
    colours = {"TRL": "#d55e00", "prefix tree": style.ACCENT}
    with style.styled():
        figure, (left, right) = style.canvas(3.6, columns=2)
        sns.barplot(rows, x="ratio", y="name", ax=left, color=style.ACCENT, width=0.6)
        left.axvline(1, color=style.INK, linewidth=0.8)
        left.bar_label(left.containers[0], fmt="%.1f×", padding=3)
        left.margins(x=0.2)  # room for the labels
        left.set(xlabel="pairs per second, as a multiple of TRL’s", ylabel="")
        left.set_yticks(range(len(rows)), [style.wrap(name, 18) for name in rows["name"]])
        left.set_title("Speed")
        sns.lineplot(turns, x="turns", y="seconds", hue="engine", style="engine", ax=right, palette=colours,
                     markers=["s", "o"])  # fmt: skip
        right.set(xlabel="turns of the conversation", ylabel="seconds per conversation", yscale="log")
        right.set_title("IPO on all points of a conversation")
        right.get_legend().set_title("")
        for axes in (left, right):
            style.label_axes(axes, "x" if axes is left else "y")
        where = f"{results['machine']['name']}, {results['machine']['cores']} cores"
        style.finish(figure, "Training with the prefix tree beside TRL", f"{where}; model shape: {results['shape']}.")
        figure.savefig(path, dpi=style.PNG_DPI)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2, help="steps of a round, beside the warm-up")
    parser.add_argument("--shape", choices=SHAPES, default="embedded")
    parser.add_argument("--memory-of", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        engine, base, folder, precision, micro = options.memory_of
        print_peak_memory(engine, Path(base), Path(folder), precision, int(micro))
        return
    facts = machine()
    slug = "".join(c if c.isalnum() else "-" for c in facts["name"].lower()).strip("-")
    path = RESULTS / f"training_throughput-{slug}-{facts['cores']}.json"
    with tempfile.TemporaryDirectory() as name:
        results = {"machine": facts, "shape": options.shape, "tasks": [], "turns": []}
        measure(results, path, Path(name), options.rounds, options.steps)
    plot(results, path.with_suffix(".png"))
    print(f"wrote {path}")


def measure(results: dict[str, Any], path: Path, folder: Path, rounds: int, steps: int) -> None:
    """Fill ``results``, written to ``path`` after every row."""
    shape = results["shape"]
    care = conversations(1, 10)
    hh = single_turn_pairs(8) if HH.exists() else []
    texts = [e.prompt + e.chosen for e in (*conversations(20, 3, seed=1), *hh)]
    base = make_base(folder / "base", shape, texts)
    results["matmul_tflops"] = matmul_peak()

    def told(row: dict[str, Any], table: str = "tasks") -> None:
        results[table].append(row)
        write_text(path, json.dumps(results, indent=1) + "\n")
        print(json.dumps(row), flush=True)

    precision = "fp32" if shape == "embedded" else "bf16"  # bf16 is no faster on a CPU without matrix units for it
    row = compare(base, folder, "ipo_mean", care, 10, precision, rounds, steps)
    row["padded_rows_seconds"] = padded_rows_seconds(base, care[:10], 1, precision)
    told({"name": f"guardrail conversations, IPO, {precision}", "target": TARGETS["ipo"], **row})
    memory = {e: peak_memory(e, base, folder, precision, row["trl_micro_batch"]) for e in ("tree", "trl")}
    told({"name": f"peak memory, {precision}", "target": TARGETS["memory"],
          "memory_ratio": memory["tree"] / memory["trl"], "tree_gib": memory["tree"], "trl_gib": memory["trl"],
          "trl_micro_batch": row["trl_micro_batch"]})  # fmt: skip
    row = compare(base, folder, "sft", care, 10, precision, rounds, steps)
    told({"name": f"guardrail conversations, SFT, {precision}", "target": TARGETS["sft"], **row})
    if hh:
        row = compare(base, folder, "dpo", hh, 8, precision, rounds, steps)
        told({"name": f"single-turn pairs (HH), DPO, {precision}", "target": TARGETS["hh dpo"], **row})
    causal = against_causal(base, care[:10], rounds, precision)
    told({"name": f"tree against plain causal row, {precision}", "target": TARGETS["tree / causal"],
          "causal_ratio": causal.pop("ratio"), **causal})  # fmt: skip
    for turns in (1, 2, 5, 10, 20):
        examples = conversations(1, turns)
        tree = statistics.median(
            tree_seconds(config_of(base, folder, "ipo_mean", turns, precision, epochs=2), examples)
        )
        more = {"engine": "trl", "trl_micro_batch_size": min(turns, 5), "epochs": 2}
        trl = statistics.median(trl_seconds(config_of(base, folder, "ipo_mean", turns, precision, **more), examples))
        row = {"turns": turns, "tree_seconds": tree, "trl_seconds": trl, **tokens(base, conversations(1, turns), "dpo")}
        told(row, "turns")


if __name__ == "__main__":
    main()
