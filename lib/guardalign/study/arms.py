"""The study's arms: where each starts, what it learns from, and the training that makes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from transformers import PreTrainedTokenizerBase

from guardalign.config.params import Params
from guardalign.config.sections import Alignment, Sft
from guardalign.data.conversations import PreferencePair, Reply
from guardalign.files import RunFolder, require
from guardalign.generation.hosted import hosted_replies
from guardalign.generation.job import GenerationJob
from guardalign.generation.replies import GenerationSettings
from guardalign.generation.side_by_side import generate_side_by_side
from guardalign.launch.accelerate import run_generation, run_training
from guardalign.models.encoding import examples_of, fitted
from guardalign.models.loading import LoraSettings, base_model, load_tokenizer
from guardalign.study import heldout
from guardalign.training import TrainingConfig, TrainingResult

FLOW_1 = ("M_1SFT", "M_2SFT", "M_ipo", "M_kto", "M_1SFT_ipo", "M_1SFT_kto")
FLOW_2 = ("N_1SFT", "N_1SFT_ipo", "N_1SFT_kto")
ARMS = (*FLOW_1, *FLOW_2)
"""Paper A's arms; ``base`` is the model they all start from."""
STARTS = {
    "M_1SFT": "base",
    "M_2SFT": "M_1SFT",
    "M_ipo": "base",
    "M_kto": "base",
    "M_1SFT_ipo": "M_1SFT",
    "M_1SFT_kto": "M_1SFT",
    "N_1SFT": "base",
    "N_1SFT_ipo": "N_1SFT",
    "N_1SFT_kto": "N_1SFT",
}
"""The arm whose model an arm is trained from, and which is its reference. The compared methods start at M_1SFT."""


def start_of(arm: str) -> str:
    return STARTS.get(arm, "M_1SFT")


def notebook_of(arm: str) -> str:
    """The notebook that trains ``arm``."""
    if arm in ("M_1SFT", "M_2SFT", "N_1SFT"):
        return "02_sft"
    if arm in FLOW_1:
        return "03_flow1_alignment"
    return "04_flow2_feedback_alignment" if arm in FLOW_2 else "05_method_comparison"


def model_of(settings: Params, run: RunFolder, arm: str) -> str:
    """Where the model of ``arm`` lies: a folder, or a hub name. Raises MissingStage where it is not trained yet."""
    if arm == "base":
        return base_model(settings.model.name)
    require(run.model(arm) / "training.json", notebook=notebook_of(arm))
    return str(run.model(arm))


def chat_template(settings: Params) -> PreTrainedTokenizerBase | None:
    """The tokenizer whose chat template lays out the prompts, or None where they are plain."""
    return load_tokenizer(base_model(settings.model.name)) if settings.model.prompt == "chat" else None


def training_config(settings: Params, run: RunFolder, arm: str, how: Sft | Alignment) -> TrainingConfig:
    """The training that makes ``arm`` out of the arm it starts from, which is also its reference."""
    own: dict[str, Any] = {"method": "sft", "learning_rate": how.learning_rate, "epochs": how.epochs}
    if isinstance(how, Alignment):
        own |= {"method": how.method, "beta": how.beta, "options": how.options}
    lora = settings.model.lora
    return TrainingConfig(
        arm=arm,
        model=model_of(settings, run, start_of(arm)),
        output=Path(run.model(arm)),
        seed=settings.seed,
        max_length=settings.model.max_length,
        precision=settings.model.precision,
        lora=LoraSettings(**lora.model_dump()) if lora else None,
        **settings.training.model_dump(),
        **own,
    )


def train_arm(
    settings: Params, run: RunFolder, arm: str, how: Sft | Alignment, pairs: Sequence[PreferencePair]
) -> TrainingResult:
    """Train ``arm`` on ``pairs``; an arm that is trained already and unchanged is left as it is.

    Pairs whose rejected reply is a model's own may have become too long: they are shortened, or left out, once more.
    """
    kept, too_long = fitted(pairs, load_tokenizer(base_model(settings.model.name)), settings.model)
    if too_long:
        print(f"{arm}: {len(too_long)} pairs left out, longer than model.max_length: {', '.join(list(too_long)[:5])}")
    return run_training(
        training_config(settings, run, arm, how), examples_of(kept, chat_template(settings)), settings.launch.kind
    )


def writing(settings: Params) -> GenerationSettings:
    """How all arms of a run write their replies."""
    own = settings.generation.model_dump(include={"max_new_tokens", "batch_size", "temperature"})
    return GenerationSettings(**own, seed=settings.seed, prompt=settings.model.prompt)


def answers(settings: Params, run: RunFolder, arm: str, pairs: Sequence[PreferencePair], output: Path) -> list[Reply]:
    """The replies of ``arm`` to ``pairs``, kept in ``output``.

    They come from the server that ``generation.replies`` names for the arm; else its model writes them, in as many
    processes as training has.
    """
    server = settings.generation.replies.get(arm)
    if server is not None:
        return hosted_replies(server, pairs, arm, run.root / "llm", output)
    model = model_of(settings, run, arm)
    return run_generation(model, pairs, arm, writing(settings), output, settings.launch.kind)


def all_answers(settings: Params, run: RunFolder, names: Sequence[str], pairs: Sequence[PreferencePair]) -> list[Reply]:
    """The replies of several arms to ``pairs``, arm by arm, kept in ``replies/<arm>.jsonl``; see ``answers``."""
    if settings.launch.kind == "none":
        own = [name for name in names if name not in settings.generation.replies]
        where = [(name, model_of(settings, run, name), run.replies(name)) for name in own]
        how = writing(settings)
        jobs = [GenerationJob(model=model, arm=name, settings=how, output=output) for name, model, output in where]
        generate_side_by_side(jobs, pairs)
    return [reply for name in names for reply in answers(settings, run, name, pairs, run.replies(name))]


def held_out(settings: Params, run: RunFolder, names: Sequence[str], pairs: Sequence[PreferencePair]) -> pd.DataFrame:
    """Held-out figures of arms, a row each in the order of ``names``; the arms they start from are scored too."""
    needed = dict.fromkeys([*(start_of(name) for name in names if name != "base"), *names])
    scores = {
        name: heldout.score_arm(run, name, model_of(settings, run, name), pairs, settings.model) for name in needed
    }
    starts = {name: start_of(name) for name in names if name != "base"}
    table = heldout.table(heldout.rows(scores, starts))
    return table.set_index("arm").loc[list(names)].reset_index()


def training_metrics(run: RunFolder, names: Sequence[str]) -> dict[str, pd.DataFrame]:
    """What each arm's training recorded, a row a step."""
    return {name: pd.read_json(run.model(name) / "metrics.jsonl", lines=True) for name in names}
