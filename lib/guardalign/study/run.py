"""The steps of an arm: training, replies, scores, verdicts. Each result is kept with what made it, and reused.

``Study`` is a parameter file, a run's folder, and a task: the run's own data, or one of the section ``tasks``. Arms of
another task, and of several seeds, are in folders of their own (``<task>/seed-<n>``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from guardalign import processes, stats
from guardalign.config.params import Params
from guardalign.config.plan import BASE, CARE, NONE, NOTEBOOKS, RANDOM, Contrast, Pairs, Plan, Stage
from guardalign.data import splitting
from guardalign.data.conversations import PreferencePair, Reply, Split
from guardalign.data.examples import Example, Prompt
from guardalign.data.selection import exchanged, part
from guardalign.errors import InputError
from guardalign.files import RunFolder, require, write_rows
from guardalign.generation.hosted import hosted_replies
from guardalign.generation.replies import GenerationJob, GenerationSettings
from guardalign.judging.choice import chosen_judge
from guardalign.judging.feedback import own_replies
from guardalign.judging.stage import SAMPLED, compare_arms, compare_preferred
from guardalign.judging.verdicts import Judge
from guardalign.launch.accelerate import run_generation, run_training
from guardalign.models.encoding import examples_of, fitted
from guardalign.models.loading import (
    RECORD,
    base_model,
    drop_weights,
    dropped,
    load_tokenizer,
    redrawn,
)
from guardalign.study import heldout, tasks
from guardalign.training import PairScore, TrainingConfig, TrainingResult
from guardalign.training.arm_folder import read_metrics
from guardalign.tree import TokenSequence

Log = Callable[[str], object]


@dataclass(frozen=True)
class Study:
    """The experiment of a parameter file in a run's folder."""

    settings: Params
    run: RunFolder
    task: str = CARE
    data: RunFolder | None = None
    """Folder of the run's own data, if not ``run``."""
    _kept: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def plan(self) -> Plan:
        return self.settings.study

    @property
    def seeds(self) -> tuple[int, ...]:
        return self.plan.seeds or (self.settings.seed,)

    @property
    def scored(self) -> tuple[int, ...]:
        """The seeds whose arms are scored on the data's own replies: the first alone where weights are not kept."""
        return self.seeds if self.plan.keep or self.task != CARE else self.seeds[:1]

    def to_score(self, pairs: Sequence[Any]) -> list[Any]:
        """The pairs they are scored on: where weights are not kept, those of the (smaller) validation split."""
        smaller = [] if self.plan.keep or self.task != CARE else self.rows("validation")
        return smaller or list(pairs)

    def folder(self, seed: int | None = None) -> RunFolder:
        """Folder of the arms of a seed (default: the first)."""
        seed = self.seeds[0] if seed is None else seed
        task_folder = self.run.root if self.task == CARE else self.run.root / self.task
        return RunFolder(task_folder / f"seed-{seed}" if len(self.seeds) > 1 else task_folder)

    def rows(self, *splits: Split) -> list[Any]:
        """The task's pairs of these splits: ``PreferencePair`` of the run's own data, ``Example`` of other tasks."""
        if self.task == CARE:
            return splitting.pairs_in(self.data or self.run, *splits)
        if self.task not in self._kept:
            self._kept[self.task] = tasks.splits(self.settings, self.task)
        return [row for split in splits for row in self._kept[self.task].get(split, [])]

    def examples(self, rows: Sequence[Prompt]) -> list[Example]:
        """Pairs as the text that models read."""
        model = self.settings.model
        return examples_of(rows, load_tokenizer(base_model(model.name)) if model.prompt == "chat" else None)

    # Training

    def train(self, stage: Stage) -> list[TrainingResult]:
        """Train the arms of ``stage`` with every seed; those that are already trained and unchanged are kept."""
        return [self.train_arm(name, seed) for seed in self.seeds for name in self.plan.part(stage)]

    def train_arm(
        self, name: str, seed: int | None = None, pairs: Sequence[Prompt] | None = None, log: Log = print
    ) -> TrainingResult:
        """Train one arm on its pairs, or on ``pairs``."""
        seed, arm, settings = self.seeds[0] if seed is None else seed, self.plan.arms[name], self.settings
        learnt = self.examples(self.pairs_of(name, seed, log) if pairs is None else pairs)
        if arm.method != "rlhf":
            return run_training(self.config_of(name, seed), learnt, settings.launch.kind, log)
        from guardalign.training.rlhf import train_online

        return train_online(
            name, arm.rlhf, self.model_of(arm.start, seed), learnt, self.examples(self.rows("test")),
            self.folder(seed).model(name), settings.training.batch_size, settings.generation.max_new_tokens,
            seed if arm.seed is None else arm.seed,
        )  # fmt: skip

    def config_of(self, name: str, seed: int) -> TrainingConfig:
        """The configuration that trains an arm from its start."""
        arm, model, folder = self.plan.arms[name], self.settings.model, self.folder(seed)
        return TrainingConfig(
            arm=name,
            model=self.model_of(arm.start, seed),
            reference=self._reference(arm.reference, seed) if arm.reference else None,
            output=folder.model(name),
            steps=self._steps(name, seed),
            seed=seed if arm.seed is None else arm.seed,
            first_epoch=self.epochs_before(name),
            **arm.model_dump(include={"method", "learning_rate", "beta", "epochs", "options"}),
            **model.model_dump(include={"max_length", "precision", "lora"}),
            **self.settings.training.model_dump(),
        )

    def epochs_before(self, name: str) -> int:
        """The epochs of all arms that an arm starts from (of one with given steps: at most as many). The arm counts its
        own on from them and so sees the pairs in another order: otherwise both would see the same ones last, at a
        rate near zero."""
        if (start := self.plan.arms[name].start) == BASE:
            return 0
        before = self.plan.arms[start]
        return self.epochs_before(start) + (before.steps if isinstance(before.steps, int) else before.epochs)

    def _reference(self, name: str, seed: int) -> str:
        if name == RANDOM:
            return redrawn(base_model(self.settings.model.name), self.folder(seed).model(RANDOM), seed)
        return name if name == NONE else self.model_of(name, seed)

    def _steps(self, name: str, seed: int) -> int | None:
        """An arm's optimiser steps if they do not follow from its epochs."""
        steps = self.plan.arms[name].steps
        return sum(self.steps_of(other, seed) for other in steps) if isinstance(steps, tuple) else steps

    def steps_of(self, name: str, seed: int) -> int:
        """How many optimiser steps an arm takes."""
        size = self.settings.training.batch_size
        return self._steps(name, seed) or self.plan.arms[name].epochs * -(-len(self.pairs_of(name, seed)) // size)

    def model_of(self, name: str, seed: int | None = None) -> str:
        """An arm's model: a folder, or a hub name. Raises MissingStage if it is not trained yet."""
        if name == BASE:
            return base_model(self.settings.model.name)
        folder = self.folder(seed).model(name)
        require(folder / "training.json", notebook=NOTEBOOKS[self.plan.stage(name)])
        return str(folder)

    def weights_of(self, name: str, seed: int | None = None) -> str:
        """``model_of`` for loading it: an arm whose weights were dropped is trained again.

        Raises MissingStage where that is not possible, in a notebook that does not show how arms are trained.
        """
        if dropped(folder := Path(self.model_of(name, seed))):
            (folder / RECORD).unlink()
            if "training" in self.settings.model_fields_set:
                for each in self.plan.ancestors(name):
                    self.weights_of(each, seed)
                self.train_arm(name, seed)
        return self.model_of(name, seed)

    def logps(self, name: str, sequences: Sequence[TokenSequence]) -> list[Tensor]:
        """Log-probs (nats) of the replies' tokens under an arm of the first seed, (completion_length,) each.

        They are kept in ``samples/``, so that a notebook that is executed again needs no weights for its example.
        """
        path, model = self.folder().root / "samples" / f"{name}.logps.json", self.settings.model
        return heldout.token_logps(path, self.model_of(name), sequences, model, lambda: self.weights_of(name))

    def metrics(self, names: Sequence[str]) -> dict[str, pd.DataFrame]:
        """What each arm's training with the first seed recorded, one row per step."""
        folder = self.folder()
        return {name: pd.DataFrame(read_metrics(folder.model(name))) for name in names}

    # Pairs

    def pairs_of(self, name: str, seed: int | None = None, log: Log = print) -> list[Any]:
        """The pairs an arm learns from. Raises MissingStage if they need replies of an arm that is not trained yet."""
        wanted, seed = self.plan.arms[name].pairs, self.seeds[0] if seed is None else seed
        found = part(self.rows(*wanted.splits), wanted.part)
        if wanted.judged:
            judged = {pair.id: pair for pair in self.own_replies(wanted.judged, wanted, seed, log)}
            found = [judged[pair.id] if wanted.rejected != "data" else pair for pair in found if pair.id in judged]
        return exchanged(found[: wanted.count], wanted.swapped, seed)

    def own_replies(self, name: str, wanted: Pairs, seed: int | None = None, log: Log = print) -> list[PreferencePair]:
        """The pairs of the splits and part of ``wanted`` where the judge finds an arm's reply worse than the chosen one
        (or of the sort that ``wanted.replies`` names), the reply in place of the data's rejected one.

        They are kept in ``data/feedback-<arm>.jsonl``. Without a judge, the pairs whose reply is not the chosen one.
        Raises InputError if there are none.
        """
        seed = self.seeds[0] if seed is None else seed
        key = (name, wanted.splits, wanted.part, wanted.replies, seed)
        if key in self._kept:
            return self._kept[key]
        folder, pairs = self.folder(seed), part(self.rows(*wanted.splits), wanted.part)
        label = "-".join([name, *(wanted.splits if wanted.splits != ("feedback",) else ())])
        label += "" if wanted.part is None else f"-{wanted.part[0]}of{wanted.part[1]}"
        samples = folder.root / "samples"
        # Arms that learn from the same replies may be trained side by side: one process writes them, the others wait.
        with processes.locked(samples / f".feedback-{label}.lock", wait=True):
            replies = self.answers(name, pairs, samples / f"feedback-{label}.jsonl", seed, log)
            texts = {reply.pair_id: reply.text for reply in replies}
            judge = chosen_judge(self.settings.judge, self.run.root / "llm")
            label += "" if wanted.replies == "worse" else f"-{wanted.replies}"
            kept, verdicts = own_replies(judge, pairs, texts, name, wanted.replies)
            write_rows(folder.root / "verdicts" / "feedback" / f"chosen-vs-{label}.jsonl", verdicts)
            tokenizer = load_tokenizer(base_model(self.settings.model.name))
            kept, too_long = fitted(kept, tokenizer, self.settings.model)  # the arm's own replies may be longer
            if too_long:
                print(f"{name}: {len(too_long)} replies left out, longer than model.max_length")
            write_rows(folder.data(f"feedback-{label}"), kept)
        if not kept:
            raise InputError(f"{name}: every reply that is kept is longer than model.max_length")
        self._kept[key] = kept
        return kept

    # Replies

    def writes(
        self, name: str, output: Path, seed: int | None = None, temperature: float | None = None
    ) -> GenerationJob:
        """How an arm's model writes its replies into ``output``: at the run's temperature, or at another one."""
        seed = self.seeds[0] if seed is None else seed
        options = self.settings.generation.model_dump(
            include={"max_new_tokens", "batch_size", "temperature", "precision"}
        )
        options |= {} if temperature is None else {"temperature": temperature}
        prompt = self.settings.model.prompt
        settings = GenerationSettings(**options, seed=seed if options["temperature"] else 0, prompt=prompt)
        return GenerationJob(model=self.model_of(name, seed), arm=name, settings=settings, output=output)

    def answers(
        self,
        name: str,
        pairs: Sequence[Any],
        output: Path,
        seed: int | None = None,
        log: Log = print,
        temperature: float | None = None,
    ) -> list[Reply]:
        """The replies of an arm to ``pairs``, kept in ``output``; ``temperature`` as in ``writes``.

        They come from the server that ``generation.replies`` names for the arm; else its model writes them, in as many
        processes as training has. Raises MissingStage if the model is not trained (see ``weights_of``).
        """
        seed = self.seeds[0] if seed is None else seed
        server = self.settings.generation.replies.get(name)
        if server is not None:
            return hosted_replies(server, pairs, name, self.run.root / "llm", output)
        job = self.writes(name, output, seed, temperature)
        if dropped(Path(job.model)) and not job.store(pairs).is_complete():
            self.weights_of(name, seed)
        return run_generation(job, pairs, self.settings.launch.kind, log)

    def all_answers(self, names: Sequence[str], pairs: Sequence[PreferencePair]) -> list[Reply]:
        """The replies of several arms to ``pairs``, seed by seed, kept in ``replies/<arm>.jsonl``; see ``answers``.

        Weights that are not kept are dropped (``drop``).
        """
        found: list[Reply] = []
        base: list[Reply] = []
        seedless = not self.settings.generation.temperature and BASE not in self.settings.generation.replies
        for seed in self.seeds:
            for name in names:
                output = self.folder(seed).replies(name)
                if name == BASE and base and seedless:  # its greedy replies are the same with every seed
                    self.writes(name, output, seed).store(pairs).write(base)
                replies = self.answers(name, pairs, output, seed)
                base = replies if name == BASE else base
                found += replies
                self.drop(name, seed)
        return found

    def drop(self, name: str, seed: int) -> None:
        """Drop an arm's weights if the plan keeps none; the first of several seeds keeps them, for notebooks' examples
        and for sampling, and so does a single one that samples."""
        first = seed == self.seeds[0] and (len(self.seeds) > 1 or self.plan.samples > 0)
        if not (self.plan.keep or first or name not in self.plan.arms or self.plan.is_needed(name)):
            drop_weights(self.folder(seed).model(name))

    # Scores and verdicts

    def score(self, name: str, seed: int, pairs: Sequence[Prompt], folder: RunFolder | None = None) -> list[PairScore]:
        """Log-probs of the pairs' own replies under an arm, kept in ``scores/`` of ``folder`` (default: the seed's)."""
        run_folder, model = folder or self.folder(seed), self.settings.model
        return heldout.score_arm(
            run_folder, name, self.model_of(name, seed), pairs, model, lambda: self.weights_of(name, seed)
        )

    def held_out(self, names: Sequence[str], pairs: Sequence[PreferencePair]) -> pd.DataFrame:
        """Held-out figures, an arm a row in the order of ``names``; the arms they start from are scored too."""
        starts, pairs = {name: self.plan.arms[name].start for name in names if name != BASE}, self.to_score(pairs)
        needed = dict.fromkeys([*starts.values(), *names])
        rows = []
        for seed in self.scored:
            scores = {name: self.score(name, seed, pairs) for name in needed}
            rows.append(heldout.rows(scores, starts, seed))
        return heldout.table(pd.concat(rows, ignore_index=True)).set_index("arm").loc[list(names)].reset_index()

    def compare(
        self, judge: Judge, contrasts: Sequence[Contrast], pairs: Sequence[PreferencePair], part: str = ""
    ) -> pd.DataFrame:
        """The judge's verdicts on contrasts, all seeds, as ``stats.frame``; kept in ``verdicts/``."""
        return pd.concat([
            stats.frame(compare_arms(self.folder(seed), judge, pairs, each.arm_1, each.arm_2, part=part), seed)
            for seed in self.seeds
            for each in contrasts
        ], ignore_index=True)  # fmt: skip

    def sampled(self, judge: Judge, pairs: Sequence[PreferencePair]) -> pd.DataFrame:
        """The judge's verdicts on the contrasts named beforehand, as ``stats.frame``, where arms of the first seed draw
        ``plan.samples`` replies to each prompt at temperature 1.

        Replies and verdicts are kept in ``sampled/``, under the prompt's id with ``#1``, ``#2``, … Contrasts with
        an arm that a server answers for are left out.
        """
        own = RunFolder(self.folder().root / SAMPLED)
        numbers = range(1, self.plan.samples + 1)
        asked = [pair.model_copy(update={"id": f"{pair.id}#{n}"}) for pair in pairs for n in numbers]
        hosted = set(self.settings.generation.replies)
        contrasts = [pair for pair in self.plan.named if hosted.isdisjoint(pair)]
        for name in dict.fromkeys(arm for pair in contrasts for arm in pair):
            self.answers(name, asked, own.replies(name), temperature=1.0)
        found = [stats.frame(compare_arms(own, judge, asked, *pair), self.seeds[0]) for pair in contrasts]
        return pd.concat(found, ignore_index=True) if found else stats.frame([])

    def against_chosen(self, judge: Judge, names: Sequence[str], pairs: Sequence[PreferencePair]) -> pd.DataFrame:
        """The judge's verdicts on arms against the data's chosen replies (paper B's Table 3), as ``stats.frame``."""
        return pd.concat([
            stats.frame(compare_preferred(self.folder(seed), judge, pairs, name), seed)
            for seed in self.seeds
            for name in names
        ], ignore_index=True)  # fmt: skip
