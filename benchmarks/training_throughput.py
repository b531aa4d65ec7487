"""How fast training goes beside TRL's own trainers: same model, data, precision and threads, in one run.

    OMP_NUM_THREADS=1 python benchmarks/training_throughput.py [--shape embedded] [--rounds 3] [--lora] [--small]

Each task is measured in rounds that alternate between the engines: this package's trainer, TRL's trainer, and TRL's
with ``TreeDPOTrainer`` in its place. A round's ratio is that of two median step times (the first step of a round is
warm-up), and the table shows the median ratio over rounds. On a CPU with one thread the time is the process's own CPU
time, so that other work on the machine does not count. TRL computes the reference's log-probs beforehand, uses its
fused head and the faster of two micro-batch sizes (for SmolLM2's shapes on a CPU the one that 24 GB hold); its
``padding_free`` is switched off in 1.16. The embedded shape trains in fp32, the others in bf16, which is faster for
both sides on a CPU with bf16 products. Peak memory is that of a fresh process (on CUDA the allocator's) beyond what it
held with the model and the data loaded. A share of the peak is floating-point operations (of the tokens that an engine
computes) per second over those of a large matrix product. Slopes are exponents: seconds per step grow as the number of
turns, guardrail tokens or pairs to that power.
Weights are random in the shapes of the embedded model, SmolLM2 and Mistral. Writes
``training_throughput-<machine>-<shape>.json`` and a plot to ``--results``; ``speed_table.py`` puts the tables into
docs/scaling.md. ``--small`` rehearses all of it with a little model in a minute; its figures say nothing.
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
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import psutil
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
    TrainerCallback,
)
from trl import DPOTrainer

from guardalign.config.sections import Lora
from guardalign.data.care import points as care_points
from guardalign.data.construction import format_prompt
from guardalign.data.conversations import PreferencePair, Turn
from guardalign.data.examples import Example
from guardalign.files import write_text
from guardalign.models.encoding import encode, examples_of
from guardalign.models.loading import load_frozen, load_model, load_tokenizer, without_bars
from guardalign.processes import peak_resident
from guardalign.training import TrainingConfig
from guardalign.training.batches import encode_examples, plan
from guardalign.training.progress import step_metrics
from guardalign.training.reference import LogprobStore
from guardalign.training.step import forward_backward
from guardalign.training.trl_engine import build_trainer
from guardalign.tree import TreeScorer, tree_row
from guardalign.tree.trl import TreeDPOTrainer

RESULTS = Path(__file__).parent / "results"
HH = Path(__file__).resolve().parents[2] / "shared" / "data" / "hh"
SHAPES = {
    "rehearsal": {"vocab_size": 512, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
                  "num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": True},
    "embedded": {"vocab_size": 2048, "hidden_size": 256, "intermediate_size": 688, "num_hidden_layers": 6,
                 "num_attention_heads": 8, "num_key_value_heads": 4, "tie_word_embeddings": True},
    "smollm2-135m": {"vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
                     "num_attention_heads": 9, "num_key_value_heads": 3, "tie_word_embeddings": True},
    "smollm2-360m": {"vocab_size": 49152, "hidden_size": 960, "intermediate_size": 2560, "num_hidden_layers": 32,
                     "num_attention_heads": 15, "num_key_value_heads": 5, "tie_word_embeddings": True},
    "mistral-7b": {"vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
                   "num_attention_heads": 32, "num_key_value_heads": 8},
}  # fmt: skip
LIKE_EMBEDDED = ("rehearsal", "embedded")  # trained in fp32; the others in bf16
FITTING = {"smollm2-135m": 2, "smollm2-360m": 1}  # pairs of a micro-batch of TRL's in 24 GB of memory, on a CPU
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
VOCABULARY = 2048  # of the tokenizer, trained on the texts; a larger head costs what its shape costs
TARGETS = {"ipo": 10.0, "sft": 4.0, "hh dpo": 1.3, "tree / causal": 1.25, "memory": 1.0}
SLOPES = {"turns": (1, 2, 5, 10, 20, 40), "guardrail_tokens": (50, 200, 500, 1000, 2000), "pairs": (5, 10, 20, 40)}
TRL_FLOPS = 5e12  # on a CPU, TRL is not asked for the slopes' larger steps: they take many minutes


def conversations(count: int, turns: int, seed: int = 0, guardrail_tokens: int = 450) -> list[Example]:
    """Eight guardrails of about ``guardrail_tokens`` in all, user messages of about 20 tokens, replies of about 25."""
    letters, rng = random.Random(0), random.Random(seed)
    words = ["".join(letters.choices("abcdefghijklmnoprstuvwy", k=letters.randint(2, 8))) for _ in range(1500)]

    def say(n: int) -> str:
        return " ".join(rng.choices(words, k=n))

    examples = []
    for number in range(count):
        guardrails = [say(max(1, round(17 * guardrail_tokens / 450))) for _ in range(8)]
        history: list[Turn] = []
        for turn in range(turns):
            history.append(Turn(role="user", text=say(8)))
            chosen, rejected = say(10), say(10)
            prompt = format_prompt(guardrails, history)
            names = {"id": f"{number}-{turn}", "conversation_id": str(number)}
            examples.append(Example(**names, prompt=prompt, chosen=f" {chosen}", rejected=f" {rejected}"))
            history.append(Turn(role="agent", text=chosen))
    return examples


def care(conversations: int = 2, turns: int = 4) -> list[Example]:
    """All pairs of some conversations of the care corpus, which has 3 to 7 a conversation, 4 on average."""
    found: dict[str, list[PreferencePair]] = {}
    for point in care_points("train"):
        found.setdefault(point.conversation_id, []).append(point.pair("train"))
    fitting = [pairs for pairs in found.values() if len(pairs) == turns]
    return examples_of(pair for pairs in fitting[:conversations] for pair in pairs)


def single_turn_pairs(count: int) -> list[Example]:
    """Helpfulness pairs of one human message each."""
    examples: list[Example] = []
    if not HH.exists():
        return examples
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
    vocabulary = min(int(SHAPES[shape]["vocab_size"]), VOCABULARY)
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
        MistralForCausalLM(config).to(torch.float32 if shape in LIKE_EMBEDDED else torch.bfloat16).save_pretrained(
            folder
        )
    return folder


def config_of(base: Path, folder: Path, method: str, batch: int, precision: str, **more: Any) -> TrainingConfig:
    given: dict[str, Any] = {"options": {"average": "token"}} if method == "sft" else {}
    return TrainingConfig(
        arm="bench", model=str(base), output=folder / f"{time.monotonic_ns()}", method=method, learning_rate=1e-5,
        batch_size=batch, precision=precision, cache=folder / "cache", save_steps=10**6, **given, **more,
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
    model = load_model(config.model, config.precision, config.lora).to(DEVICE)
    scorer = TreeScorer(model, precision=config.precision)
    weights = [weight for weight in scorer.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=config.learning_rate, fused=True)
    store = LogprobStore(config.reference_cache)
    device = scorer.model.device
    seconds = []
    for batch in batches:
        store.fill(batch.sequences, lambda: scorer, config.row_tokens)
        reference = store.of(batch.sequences) if config.loss.reference else None
        start = now()
        output = forward_backward(scorer, batch, config, device, reference)
        torch.nn.utils.clip_grad_norm_(weights, config.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step_metrics(output, config)
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


@dataclass(frozen=True)
class Setup:
    """What all measurements of a run share."""

    base: Path
    folder: Path
    precision: str
    rounds: int
    steps: int
    lora: bool
    peak: float  # TFLOP/s
    fitting: int | None  # pairs of TRL's micro-batch that fit into memory; None: any number, and rows of any length

    def config(self, method: str, batch: int, engine: str = "tree", micro: int | None = None) -> TrainingConfig:
        more: dict[str, Any] = {"epochs": 1 + self.steps, "lora": Lora(rank=16) if self.lora else None}
        more["row_tokens"] = 4096 if self.fitting else 32768
        if engine != "tree":
            more |= {"engine": "trl", "trl_micro_batch_size": micro or batch}
        return config_of(self.base, self.folder, method, batch, self.precision, **more)

    def seconds(self, engine: str, method: str, examples: list[Example], micro: int | None = None) -> float:
        """Median seconds of a step on all the examples."""
        config = self.config(method, len(examples), engine, micro)
        if engine == "tree":
            return statistics.median(tree_seconds(config, examples))
        with patch("trl.DPOTrainer", TreeDPOTrainer if engine == "trl_tree" else DPOTrainer):
            return statistics.median(trl_seconds(config, examples))


def compare(setup: Setup, method: str, examples: list[Example]) -> dict[str, Any]:
    """Median step seconds of the engines and the median ratios over rounds; a step holds all the examples."""
    batch = len(examples)
    micro = setup.fitting or 0
    if not micro:
        tried = {size: setup.seconds("trl", method, examples, size) for size in {max(batch // 5, 1), batch}}
        micro = min(tried, key=tried.__getitem__)
    engines = ["tree", "trl"] + (["trl_tree"] if method in ("ipo_mean", "dpo") else [])
    found: dict[str, list[float]] = {engine: [] for engine in engines}
    for _ in range(setup.rounds):
        for engine in engines:
            found[engine].append(setup.seconds(engine, method, examples, micro if engine == "trl" else None))
    work = tokens(setup.base, examples, method)
    row: dict[str, Any] = {
        "trl_micro_batch": micro,
        "pairs_a_step": batch,
        "ratio": statistics.median(b / a for a, b in zip(found["tree"], found["trl"], strict=True)),
        "logical_tokens_a_pair": work["logical_tokens"] / batch,
        "unique_tokens_a_pair": work["unique_tokens"] / batch,
    }
    for engine, seconds in found.items():
        median = statistics.median(seconds)
        flops = work["trl_flops" if engine == "trl" else "tree_flops"]
        row |= {
            f"{engine}_seconds_a_step": median,
            f"{engine}_pairs_a_second": batch / median,
            f"{engine}_share_of_peak": flops / median / 1e12 / setup.peak,
        }
    return row


def tokens(base: Path, examples: list[Example], method: str) -> dict[str, float]:
    """Tokens of a step, one by one and distinct, and the floating-point operations that either number of them takes."""
    replies = [e.chosen for e in examples] + ([] if method == "sft" else [str(e.rejected) for e in examples])
    prompts = [e.prompt for e in examples] * (1 if method == "sft" else 2)
    sequences = encode(load_tokenizer(str(base)), prompts, replies)
    row = tree_row(sequences)
    depths = np.concatenate([np.arange(len(s.tokens)) for s in sequences])
    return {
        "logical_tokens": row.logical_tokens,
        "unique_tokens": row.unique_tokens,
        "tree_flops": flops(base, row.depth.numpy(), len(row.predictors)),
        "trl_flops": flops(base, depths, sum(s.completion_length for s in sequences)),
    }


def flops(base: Path, depths: np.ndarray, predicted: int) -> float:
    """Forward and backward pass of tokens at ``depths`` with all weights trained: 6 per weight and token, 12 per layer,
    width and pair of tokens that attend (Kaplan et al. 2020, section 2.1; causal)."""
    config = AutoConfig.from_pretrained(base)
    with torch.device("meta"):
        body = sum(w.numel() for w in AutoModelForCausalLM.from_config(config).model.layers.parameters())
    head = config.vocab_size * config.hidden_size
    width = config.num_attention_heads * config.head_dim
    pairs = float((depths + 1).sum())
    return 6.0 * (body * len(depths) + head * predicted) + 12.0 * config.num_hidden_layers * width * pairs


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
    plain = load_frozen(str(base)).to(DEVICE).requires_grad_(True)
    plain.set_attn_implementation("sdpa")
    scorer = TreeScorer(load_frozen(str(base)).to(DEVICE).requires_grad_(True), precision=precision)  # type: ignore[arg-type]
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


def peak_memory(engine: str, base: Path, folder: Path, precision: str, micro: int) -> float:
    """GiB beyond the loaded model and data, in a process of its own: one IPO step of ten pairs and its reference."""
    command = [sys.executable, __file__, "--memory-of", engine, str(base), str(folder), precision, str(micro)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.strip().splitlines()[-1])


def print_peak_memory(engine: str, base: Path, folder: Path, precision: str, micro: int) -> None:
    examples = conversations(1, 10)
    run = tree_seconds if engine == "tree" else trl_seconds
    told = {} if engine == "tree" else {"engine": "trl", "trl_micro_batch_size": micro}
    run(config_of(base, folder, "ipo_mean", micro, precision, **told), examples[:micro])  # libraries, buffers
    now_held = torch.cuda.memory_allocated if torch.cuda.is_available() else lambda: psutil.Process().memory_info().rss
    before = now_held() / 2**30
    run(config_of(base, folder, "ipo_mean", 10, precision, **told), examples)
    print(_held() - before)


def _held() -> float:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    return peak_resident() / 2**30


def matmul_peak(precision: str) -> float:
    """TFLOP/s of a large matrix product in ``precision``: the fastest of twenty, as it is a peak."""
    n = 8192 if torch.cuda.is_available() else 1024
    a = torch.randn(n, n, dtype=torch.bfloat16 if precision == "bf16" else torch.float32, device=DEVICE)
    return 2 * n**3 / min(timed(lambda: torch.mm(a, a), 1) for _ in range(20)) / 1e12  # type: ignore[arg-type, return-value]


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
        left.bar_label(left.containers[0], fmt="%.1f×", padding=3)  # type: ignore[arg-type]
        left.margins(x=0.2)  # room for the labels
        left.set(xlabel="pairs per second, as a multiple of TRL’s", ylabel="")
        left.set_yticks(range(len(rows)), [style.wrap(name, 18) for name in rows["name"]])
        left.set_title("Speed")
        sns.lineplot(turns, x="turns", y="seconds", hue="engine", style="engine", ax=right, palette=colours,
                     markers=["s", "o"])  # fmt: skip
        right.set(xlabel="turns of the conversation", ylabel="seconds per conversation", yscale="log")
        right.set_title("IPO on all points of a conversation")
        right.legend(title="")
        for axes in (left, right):
            style.label_axes(axes, "x" if axes is left else "y")
        where = f"{results['machine']['name']}, {results['machine']['cores']} cores"
        style.titled(figure, "Training with the prefix tree beside TRL", f"{where}; model shape: {results['shape']}.")
        figure.savefig(path, dpi=style.PNG_DPI)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2, help="steps of a round, beside the warm-up")
    parser.add_argument("--shape", choices=SHAPES, default="embedded")
    parser.add_argument("--lora", action="store_true", help="train adapters of rank 16 in place of all weights")
    parser.add_argument("--slopes", action=argparse.BooleanOptionalAction, default=True, help="measure how cost grows")
    parser.add_argument("--small", action="store_true", help="a rehearsal with a little model")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--memory-of", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        engine, base, folder, precision, micro = options.memory_of
        print_peak_memory(engine, Path(base), Path(folder), precision, int(micro))
        return
    if options.small:
        options.shape, options.rounds, options.steps = "rehearsal", 1, 1
    facts = machine()
    slug = "".join(c if c.isalnum() else "-" for c in facts["name"].lower()).strip("-")
    shape = options.shape + ("-lora" if options.lora else "")
    path = options.results / f"training_throughput-{slug}-{facts['cores']}-{shape}.json"
    options.results.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        precision = "fp32" if options.shape in LIKE_EMBEDDED else "bf16"
        results = {"machine": facts, "shape": shape, "tasks": [], "matmul_tflops": matmul_peak(precision)}
        texts = [e.prompt + e.chosen for e in (*conversations(20, 3, seed=1), *care(40), *single_turn_pairs(8))]
        setup = Setup(make_base(folder / "base", options.shape, texts), folder, precision, options.rounds,
                      options.steps, options.lora, results["matmul_tflops"],
                      None if torch.cuda.is_available() else FITTING.get(options.shape))  # fmt: skip
        tell = partial(add, results, path)
        measure(setup, tell)
        if options.slopes:
            measure_slopes(setup, options.small, tell)
            plot(results, path.with_suffix(".png"))
    print(f"wrote {path}")


def add(results: dict[str, Any], path: Path, row: dict[str, Any], table: str = "tasks") -> None:
    """Add a row to a table of the results and write them: what was measured stays, should the rest be interrupted."""
    results.setdefault(table, []).append(row)
    write_text(path, json.dumps(results, indent=1) + "\n")
    print(json.dumps(row), flush=True)


def measure(setup: Setup, tell: Callable[..., None]) -> None:
    """Speed and memory on each kind of data, a row each."""
    kept, ten, hh = setup.precision, conversations(1, 10), single_turn_pairs(8)
    if not setup.lora:  # before this process has grown
        micro = setup.fitting or 2
        memory = {e: peak_memory(e, setup.base, setup.folder, kept, micro) for e in ("tree", "trl")}
        ratio = {"memory_ratio": memory["tree"] / memory["trl"], "trl_micro_batch": micro}
        gib = {f"{engine}_gib": held for engine, held in memory.items()}
        tell({"name": f"peak memory, {kept}", "target": TARGETS["memory"], **ratio, **gib})
    tell({"name": f"guardrail conversations, IPO, {kept}", "target": TARGETS["ipo"], **compare(setup, "ipo_mean", ten)})
    tell(
        {"name": f"guardrail conversations of 5 turns, IPO, {kept}", **compare(setup, "ipo_mean", conversations(1, 5))}
    )
    tell({"name": f"guardrail conversations, SFT, {kept}", "target": TARGETS["sft"], **compare(setup, "sft", ten)})
    tell({"name": f"care corpus, IPO, {kept}", **compare(setup, "ipo_mean", care())})
    if hh:
        tell({"name": f"single-turn pairs (HH), DPO, {kept}", "target": TARGETS["hh dpo"], **compare(setup, "dpo", hh)})
    for name, examples in {"": ten, "care corpus: ": care(1)}.items():  # one conversation: a plain row sees it all
        causal = against_causal(setup.base, examples, setup.rounds, kept)
        tell({"name": f"{name}tree against plain causal row, {kept}", "target": TARGETS["tree / causal"],
              "causal_ratio": causal.pop("ratio"), **causal})  # fmt: skip


def measure_slopes(setup: Setup, small: bool, tell: Callable[..., None]) -> None:
    """How seconds a step grow, a row a point and one an exponent."""
    for name, values in SLOPES.items():
        rows = []
        for value in values[:3] if small else values:
            rows.append(point(setup, name, value))
            tell(rows[-1], name)
        tell({"of": name, **{engine: slope(rows, name, engine) for engine in ("tree", "trl")}}, "slopes")


def point(setup: Setup, name: str, value: int) -> dict[str, Any]:
    """Seconds per IPO step at one value of what is varied: all points of a conversation of 10 turns otherwise."""
    if name == "turns":
        examples = conversations(1, value)
    elif name == "pairs":
        examples = conversations(value // 5, 5)
    else:
        examples = conversations(1, 10, guardrail_tokens=value)
    work = tokens(setup.base, examples, "dpo")
    row = {name: value, "tree_seconds": setup.seconds("tree", "ipo_mean", examples)}
    if torch.cuda.is_available() or work["trl_flops"] <= TRL_FLOPS:
        row["trl_seconds"] = setup.seconds("trl", "ipo_mean", examples, min(len(examples), 5))
    return row | {key: work[key] / len(examples) for key in ("logical_tokens", "unique_tokens")}


def slope(rows: list[dict[str, Any]], name: str, engine: str) -> float | None:
    """The exponent of growth: least squares of log seconds on log value; None for fewer than three values."""
    known = [(row[name], row[f"{engine}_seconds"]) for row in rows if f"{engine}_seconds" in row]
    values, seconds = np.log(np.array(known).reshape(-1, 2)).T
    return round(float(np.polyfit(values, seconds, 1)[0]), 2) if len(known) > 2 else None


if __name__ == "__main__":
    main()
