"""What `batching: conversation` does to results, beside TRL's order (`batching: pair`), on the embedded default.

    OMP_NUM_THREADS=1 python benchmarks/batching_effect.py [--conversations 40] [--seeds 3] [--precision bf16]

For every seed and way of batching the base model is fine-tuned (one epoch) and then aligned by IPO (mean) on the same
pairs; held-out pairs give the negative log-likelihood of chosen replies (nats a token), the share of pairs whose chosen
reply the arm prefers, and the log-ratios that the alignment moved. Writes ``benchmarks/results/batching_effect.json``
and a plot beside it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from statistics import fmean
from typing import Any

from guardalign.config.sections import Conversations, Source
from guardalign.data.conversations import PreferencePair
from guardalign.data.examples import Example
from guardalign.files import write_text
from guardalign.models.encoding import examples_of
from guardalign.models.loading import load_frozen, load_tokenizer
from guardalign.study import sources
from guardalign.training import TrainingConfig, evaluate_pairs, train
from guardalign.world import BASE_MODEL

RESULTS = Path(__file__).parent / "results"
SFT_RATE, IPO_RATE, BETA = 3e-4, 5e-5, 0.1


def examples(pairs: list[PreferencePair], *splits: str) -> list[Example]:
    return examples_of([pair for pair in pairs if pair.split in splits])


def run(folder: Path, learn: list[Example], test: list[Example], **settings: Any) -> list[dict[str, Any]]:
    """Fine-tune, align, and score both on the held-out pairs."""
    rows, start = [], str(BASE_MODEL)
    arms = {
        "SFT": {"method": "sft", "learning_rate": SFT_RATE},
        "IPO": {"method": "ipo_mean", "learning_rate": IPO_RATE},
    }
    for arm, how in arms.items():
        config = TrainingConfig(
            arm=arm, model=start, output=folder / arm, beta=BETA, cache=folder / "reference", probe_steps=0,
            **how, **settings,
        )  # fmt: skip
        result = train(config, learn, lambda line: None)
        tokenizer = load_tokenizer(start)
        own, before = (evaluate_pairs(load_frozen(each), tokenizer, test) for each in (str(config.output), start))
        chosen = [a.chosen - b.chosen for a, b in zip(own, before, strict=True)]
        rejected = [(a.rejected or 0) - (b.rejected or 0) for a, b in zip(own, before, strict=True)]
        facts = {
            "nll": -sum(score.chosen for score in own) / sum(score.chosen_tokens for score in own),
            "accuracy": fmean(score.chosen > (score.rejected or 0) for score in own),
            "reward_accuracy": fmean(c > r for c, r in zip(chosen, rejected, strict=True)),
            "chosen_log_ratio": fmean(chosen),
            "rejected_log_ratio": fmean(rejected),
        }
        tokens = {"unique_tokens": result.unique_tokens, "logical_tokens": result.logical_tokens}
        rows.append({"arm": arm, "seconds": result.seconds, "steps": result.steps, **tokens, **facts})
        start = str(config.output)
    return rows


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """A point per seed, a panel per measure, into ``path``."""
    import pandas as pd
    import seaborn as sns

    from guardalign.report.figures import style

    shown = {"nll": "NLL of held-out chosen replies,\nnats per token", "accuracy": "held-out preference accuracy"}
    table = pd.DataFrame(rows).replace({"arm": {"IPO": "SFT then IPO"}})
    with style.styled():
        figure, panels = style.canvas(3.4, columns=len(shown))
        for axes, (name, label) in zip(panels, shown.items(), strict=True):
            sns.stripplot(table, x="arm", y=name, hue="batching", dodge=True, jitter=False, ax=axes, size=7,
                          palette=[style.ACCENT, "#d55e00"], legend=axes is panels[0])  # fmt: skip
            axes.set(xlabel="", ylabel=label)
            style.label_axes(axes, "y")
        style.titled(figure, "Batches of pairs and of whole conversations", "A point per training seed.")
        figure.savefig(path, dpi=style.PNG_DPI)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--conversations", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    options = parser.parse_args()
    counts = Conversations(train=options.conversations, feedback=1, test=30)
    pairs = sources.load(Source(kind="world", conversations=counts)).pairs
    learn, test = examples(pairs, "train"), examples(pairs, "test")
    rows = []
    for seed in range(options.seeds):
        for batching in ("pair", "conversation"):
            with tempfile.TemporaryDirectory() as name:
                told = {"seed": seed, "batching": batching, "precision": options.precision}
                for row in run(Path(name), learn, test, **told):
                    rows.append(told | row)
                    print(json.dumps(rows[-1]), flush=True)
    facts = {"conversations": options.conversations, "train_pairs": len(learn), "test_pairs": len(test), "rows": rows}
    write_text(RESULTS / "batching_effect.json", json.dumps(facts, indent=1) + "\n")
    plot(rows, RESULTS / "batching_effect.png")


if __name__ == "__main__":
    main()
