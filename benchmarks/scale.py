"""Twenty steps of IPO on a Mistral of 7 billion random weights, by each profile that this machine can hold.

    python benchmarks/scale.py --machine h200 [--profiles single_gpu paper] [--steps 20] [--small]

A profile is taken as it stands in ``params/``, with random weights for its model, made-up conversations of paper A's
lengths for its data, and as many processes as there are GPUs where it wants more. Recorded for each: the peak that a
process's allocator held beside the calculator's figure (within 15 % is the aim), tokens a second, the share of the
GPU's peak that the arithmetic reaches, the same peak while replies are written, and how far the scores and gradients
of a small model on the GPU are from those on the CPU. ``--small`` rehearses all of it with a little model, on a CPU
too; its figures say nothing. Writes ``benchmarks/results/scale-<machine>.json``. Beside TRL on the same GPU:

    python benchmarks/training_throughput.py --shape mistral-7b --lora
    python benchmarks/generation_throughput.py --shape mistral-7b --samples 1 8
"""

from __future__ import annotations

import argparse
import gc
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from transformers import MistralConfig, MistralForCausalLM

from guardalign.config.params import Params
from guardalign.config.sections import Conversations, Source
from guardalign.data.conversations import PreferencePair, Turn
from guardalign.files import RunFolder, write_rows
from guardalign.generation.replies import generate
from guardalign.launch import accelerate_config
from guardalign.models.encoding import fitted
from guardalign.models.loading import load_tokenizer
from guardalign.study.run import Study
from guardalign.study.sources import load, world
from guardalign.training.progress import peak_memory
from guardalign.tree import TokenSequence, TreeScorer, tree_row
from guardalign.workflow.estimate import (
    GIB,
    LIBRARIES,
    TERA,
    Estimate,
    Machine,
    TooSmall,
    check,
    estimate,
    flops_a_token,
)
from guardalign.world import BASE_MODEL

ROOT = Path(__file__).resolve().parents[1]
PROFILES = ("single_gpu", "paper")
ARM = "M_ipo"
WARM_UP = 5  # steps in which kernels are compiled and the allocator finds its size
JOINED, POINTS = 6, 10  # conversations of the embedded world that make one of the paper's length, points it gives
LEAST = 160  # points, so that every split has some
REPLY_TOKENS = 64
SIZES = {"vocab_size": 32768, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
         "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 32768}  # fmt: skip
SMALL = SIZES | {"vocab_size": 4096, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
                 "num_attention_heads": 4, "num_key_value_heads": 2}  # fmt: skip


def save_random_model(folder: Path, sizes: dict[str, int]) -> None:
    """Weights in bfloat16, as the hub has them, and the embedded model's tokenizer, whose ids they hold."""
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        torch.manual_seed(0)
        model = MistralForCausalLM._from_config(MistralConfig(**sizes, sliding_window=None), dtype=torch.bfloat16)
    tokenizer = load_tokenizer(str(BASE_MODEL))
    model.config.bos_token_id, model.config.eos_token_id = tokenizer.bos_token_id, tokenizer.eos_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    del model
    _free()


def long_conversations(wanted: int) -> list[PreferencePair]:
    """That many points of conversations that are several of the world's, one after the other."""
    source = Source(kind="world", conversations=Conversations(train=2 * wanted, feedback=1, test=1))
    parts: dict[str, list[PreferencePair]] = {}
    for pair in world(source).pairs:
        parts.setdefault(pair.conversation_id, []).append(pair)
    names = list(parts)
    made: list[PreferencePair] = []
    for first in range(0, len(names), JOINED):
        whole = list(_joined(f"joined-{first}", [parts[name] for name in names[first : first + JOINED]]))
        made += whole[:: -(-len(whole) // POINTS)]
    return made[:wanted]


def _joined(name: str, parts: Sequence[Sequence[PreferencePair]]) -> Iterator[PreferencePair]:
    """The points of ``parts`` with all that was said before them, under the guardrails of them all."""
    rules = tuple(dict.fromkeys(rule for part in parts for rule in part[0].guardrails))
    said: tuple[Turn, ...] = ()
    for place, part in enumerate(parts):
        for pair in part:
            yield pair.model_copy(update={
                "id": f"{name}/{place}/{pair.id}", "conversation_id": name, "guardrails": rules,
                "turns": said + pair.turns,
            })  # fmt: skip
        said = (*said, *part[-1].turns, Turn(role="agent", text=part[-1].chosen))


def profile_here(name: str, folder: Path, small: bool, machine: Machine) -> Params:
    """The parameters of a profile with the model and the data of ``folder``, on the GPUs that are here."""
    content = yaml.safe_load((ROOT / "params" / f"{name}.yaml").read_text(encoding="utf-8"))
    content["run"] = str(folder / name)
    content["model"]["name"] = str(folder / "model")
    content["source"]["path"] = str(folder / "pairs.jsonl")
    content["generation"]["max_new_tokens"] = REPLY_TOKENS
    launch = yaml.safe_load(accelerate_config(content["launch"]["kind"]).read_text(encoding="utf-8"))
    if machine.gpus:
        launch["num_processes"] = min(launch["num_processes"], len(machine.gpus))
        own = folder / f"{name}.launch.yaml"
        own.write_text(yaml.safe_dump(launch), encoding="utf-8")
        content["launch"]["kind"] = str(own)
    elif small:
        content["launch"]["kind"] = "cpu"
        content["training"]["optimizer"] = "adamw"  # pages need a GPU
    return Params.checked(content)


def train(settings: Params, found: Estimate, steps: int, machine: Machine) -> dict[str, Any]:
    """IPO for ``steps`` batches; medians over the steps after the warm-up."""
    run = RunFolder.named(settings.run)
    pairs = load(settings.source).pairs[: steps * settings.training.batch_size]
    pairs, _ = fitted(pairs, load_tokenizer(settings.model.name), settings.model)  # the longest give up old turns
    study = Study(settings, run)
    result = study.train_arm(ARM, pairs=pairs)
    rows = study.metrics([ARM])[ARM]
    shutil.rmtree(run.model(ARM))  # the next profile may need the room
    steady = (rows[WARM_UP:] if len(rows) > WARM_UP else rows).median()
    unique = float(steady["unique_tokens_per_second"])
    flops = found.shape.parameters * flops_a_token(settings, found.shape) * unique
    peak = machine.tflops if found.gpu else None
    return {
        "steps": result.steps,
        "processes": result.world_size,
        "loss": rows["loss"].round(4).to_list(),
        **_peaks(found, sum(found.memory.values()), float(rows["memory_gib"].max())),
        "seconds_a_step": round(float(steady["seconds"]), 3),
        "unique_tokens_per_second": round(unique),
        "logical_tokens_per_second": round(float(steady["logical_tokens_per_second"])),
        "tflops": round(flops / TERA, 2),
        "share_of_peak": round(flops / TERA / peak / result.world_size, 3) if peak else None,
    }


def write(settings: Params, found: Estimate) -> dict[str, Any]:
    """Two batches of replies by the base model, in this process."""
    run, size = RunFolder.named(settings.run), settings.generation.batch_size
    pairs = load(settings.source).pairs[-2 * size :]
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    replies = generate(
        settings.model.name,
        pairs,
        "base",
        Study(settings, run).writes("base", run.replies("base")).settings,
        run.replies("base"),
        _quiet,
    )
    told = {"replies": len(replies), **_peaks(found, found.writing, peak_memory())}
    _free()
    return told


def _peaks(found: Estimate, tensors: float, peak: float) -> dict[str, float]:
    """``peak`` (GiB, by ``peak_memory``) beside the estimate: tensors on a GPU, the whole process on a CPU."""
    expected = (tensors if found.gpu else tensors + LIBRARIES[False]) / GIB
    return {"peak_gib": round(peak, 2), "estimated_gib": round(expected, 2), "error": round(expected / peak - 1, 3)}


def agreement() -> dict[str, float]:
    """Relative distances of log-probs and gradients (norms, fp32) between the CPU and the GPU that is here."""
    torch.manual_seed(0)
    model = MistralForCausalLM(MistralConfig(**SMALL, sliding_window=None, initializer_range=0.1))
    draw = np.random.default_rng(0)
    stem = draw.integers(0, SMALL["vocab_size"], 700)
    replies = [(depth, draw.integers(0, SMALL["vocab_size"], 40)) for depth in (300, 300, 500, 500, 700, 700)]
    row = tree_row([TokenSequence(np.concatenate([stem[:depth], reply]), depth) for depth, reply in replies])
    found = []
    for device in ("cpu", "cuda" if torch.cuda.is_available() else "cpu"):
        scores = TreeScorer(model.to(device))(row).policy
        scores.sum().backward()
        gradients = torch.cat([weight.grad.flatten().cpu() for weight in model.parameters()])  # type: ignore[union-attr]
        found.append((scores.detach().cpu(), gradients))
        model.zero_grad(set_to_none=True)
    _free()
    names = ("log_probs", "gradients")
    return {name: float((b - a).norm() / a.norm()) for name, a, b in zip(names, *found, strict=True)}


def _quiet(_: str) -> None:
    pass


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--machine", required=True, help="a name for the file of results")
    parser.add_argument("--profiles", nargs="+", default=PROFILES, help="parameter files in params/, without .yaml")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--small", action="store_true", help="a rehearsal with a little model")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    given = parser.parse_args()
    if not given.small and not torch.cuda.is_available():
        sys.exit("Seven billion weights want a GPU; --small rehearses without one.")
    told: dict[str, Any] = {"small": given.small, "steps": given.steps, "torch": torch.__version__, "profiles": {}}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        machine = Machine.here(folder)
        told["gpus"] = [name for name, _ in machine.gpus]
        told["gpu_against_cpu"] = agreement()
        save_random_model(folder / "model", SMALL if given.small else SIZES)
        profiles = {name: profile_here(name, folder, given.small, machine) for name in given.profiles}
        most = max(settings.training.batch_size for settings in profiles.values())
        write_rows(folder / "pairs.jsonl", long_conversations(max(given.steps * most, LEAST)))
        for name, settings in profiles.items():
            found = estimate(settings, machine)
            try:
                check(found, machine, folder / name)
            except TooSmall as short:
                told["profiles"][name] = {"refused": str(short)}
                print(f"{name}: {short}", flush=True)
                continue
            trained = train(settings, found, given.steps, machine)
            told["profiles"][name] = {"training": trained, "writing": write(settings, found)}
            print(json.dumps({name: told["profiles"][name]}, indent=1), flush=True)
    given.results.mkdir(exist_ok=True)
    (given.results / f"scale-{given.machine}.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
