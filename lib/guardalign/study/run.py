"""Arms settled: trained, answered, scored and judged, each step kept with what made it and resumed.

``Study`` is a parameter file and a run's folder. Where the plan has several seeds or tasks, the arms of each lie in a
folder of their own (``<task>/seed-<n>``); else in the run's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from guardalign import stats
from guardalign.config.params import Params
from guardalign.config.plan import BASE, NOTEBOOKS, Contrast, Plan, Stage
from guardalign.data import splitting
from guardalign.data.conversations import PreferencePair, Reply, Split
from guardalign.errors import InputError
from guardalign.files import RunFolder, require, write_rows
from guardalign.generation.hosted import hosted_replies
from guardalign.generation.job import GenerationJob
from guardalign.generation.replies import GenerationSettings
from guardalign.generation.side_by_side import generate_side_by_side
from guardalign.judging.choice import chosen_judge
from guardalign.judging.feedback import worse_than_chosen
from guardalign.judging.stage import compare_arms, compare_preferred, different_from_chosen
from guardalign.judging.verdicts import Judge
from guardalign.launch.accelerate import run_generation, run_training
from guardalign.models.encoding import examples_of, fitted
from guardalign.models.loading import LoraSettings, base_model, load_tokenizer
from guardalign.study import heldout
from guardalign.training import TrainingConfig, TrainingResult


@dataclass(frozen=True)
class Study:
    """The experiment of a parameter file in a run's folder."""

    settings: Params
    run: RunFolder
    _kept: dict[tuple[Any, ...], list[PreferencePair]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def plan(self) -> Plan:
        return self.settings.study

    @property
    def seeds(self) -> tuple[int, ...]:
        return self.plan.seeds or (self.settings.seed,)

    def folder(self, seed: int | None = None) -> RunFolder:
        """Where the arms of a seed (default: the first) lie."""
        seed = self.seeds[0] if seed is None else seed
        return RunFolder(self.run.root / f"seed-{seed}") if len(self.seeds) > 1 else self.run

    # Training

    def train(self, stage: Stage) -> list[TrainingResult]:
        """Train the arms of ``stage`` with every seed; those that are trained already and unchanged stay."""
        return [self.train_arm(name, seed) for seed in self.seeds for name in self.plan.part(stage)]

    def train_arm(
        self, name: str, seed: int | None = None, pairs: Sequence[PreferencePair] | None = None
    ) -> TrainingResult:
        """Train one arm on its pairs, or on ``pairs``."""
        seed = self.seeds[0] if seed is None else seed
        learnt = self.pairs_of(name, seed) if pairs is None else pairs
        return run_training(self.config_of(name, seed), examples_of(learnt, self._chat()), self.settings.launch.kind)

    def config_of(self, name: str, seed: int) -> TrainingConfig:
        """The training that makes an arm of the model it starts from."""
        arm, model, own = self.plan.arms[name], self.settings.model, self.folder(seed)
        return TrainingConfig(
            arm=name,
            model=self.model_of(arm.start, seed),
            reference=self.model_of(arm.reference, seed) if arm.reference else None,
            output=own.model(name),
            method=arm.method,
            learning_rate=arm.learning_rate,
            beta=arm.beta,
            epochs=arm.epochs,
            steps=self._steps(name, seed),
            options=arm.options,
            seed=seed if arm.seed is None else arm.seed,
            max_length=model.max_length,
            precision=model.precision,
            lora=LoraSettings(**model.lora.model_dump()) if model.lora else None,
            **self.settings.training.model_dump(),
        )

    def _steps(self, name: str, seed: int) -> int | None:
        """An arm's optimiser steps where epochs do not decide them."""
        steps = self.plan.arms[name].steps
        return sum(self.steps_of(other, seed) for other in steps) if isinstance(steps, tuple) else steps

    def steps_of(self, name: str, seed: int) -> int:
        """How many optimiser steps an arm takes."""
        size = self.settings.training.batch_size
        return self._steps(name, seed) or self.plan.arms[name].epochs * -(-len(self.pairs_of(name, seed)) // size)

    def model_of(self, name: str, seed: int | None = None) -> str:
        """Where an arm's model lies: a folder, or a hub name. Raises MissingStage where it is not trained yet."""
        if name == BASE:
            return base_model(self.settings.model.name)
        folder = self.folder(seed).model(name)
        require(folder / "training.json", notebook=NOTEBOOKS[self.plan.stage(name)])
        return str(folder)

    def metrics(self, names: Sequence[str]) -> dict[str, pd.DataFrame]:
        """What each arm's training with the first seed recorded, a row a step."""
        own = self.folder()
        return {name: pd.read_json(own.model(name) / "metrics.jsonl", lines=True) for name in names}

    # Pairs

    def pairs_of(self, name: str, seed: int | None = None) -> list[PreferencePair]:
        """What an arm learns from. Raises MissingStage where the arm whose mistakes they are is not trained yet."""
        wanted = self.plan.arms[name].pairs
        found = splitting.pairs_in(self.run, *wanted.splits)
        if wanted.judged:
            worse = {pair.id: pair for pair in self.mistakes(wanted.judged, wanted.splits, seed)}
            found = [worse[pair.id] if wanted.rejected != "data" else pair for pair in found if pair.id in worse]
        return found[: wanted.count]

    def mistakes(self, name: str, splits: Sequence[Split], seed: int | None = None) -> list[PreferencePair]:
        """The pairs of ``splits`` where the judge finds an arm's reply worse than the chosen one, the reply in place of
        the data's rejected one; kept in ``data/feedback-<arm>.jsonl``.

        Without a judge, the pairs whose reply is not the chosen one. Raises InputError where there are none.
        """
        seed = self.seeds[0] if seed is None else seed
        key = (name, tuple(splits), seed)
        if key not in self._kept:
            self._kept[key] = self._mistakes(name, splits, seed)
        return self._kept[key]

    def _mistakes(self, name: str, splits: Sequence[Split], seed: int) -> list[PreferencePair]:
        own, pairs = self.folder(seed), splitting.pairs_in(self.run, *splits)
        replies = self.answers(name, pairs, own.root / "samples" / f"feedback-{name}.jsonl", seed)
        said = {reply.pair_id: reply.text for reply in replies}
        judge = chosen_judge(self.settings.judge, self.run.root / "llm")
        kept, verdicts = worse_than_chosen(judge, pairs, said, name) if judge else different_from_chosen(pairs, said)
        write_rows(own.root / "verdicts" / "feedback" / f"chosen-vs-{name}.jsonl", verdicts)
        tokenizer = load_tokenizer(base_model(self.settings.model.name))
        kept, too_long = fitted(kept, tokenizer, self.settings.model)  # the arm's own replies may be longer
        if too_long:
            print(f"{name}: {len(too_long)} replies left out, longer than model.max_length")
        write_rows(own.data(f"feedback-{name}"), kept)
        if not kept:
            raise InputError(f"{name}: every reply worse than the chosen one is longer than model.max_length")
        return kept

    # Replies

    def writing(self, seed: int | None = None) -> GenerationSettings:
        """How all arms write their replies."""
        seed = self.seeds[0] if seed is None else seed
        own = self.settings.generation.model_dump(include={"max_new_tokens", "batch_size", "temperature"})
        return GenerationSettings(**own, seed=seed, prompt=self.settings.model.prompt)

    def answers(self, name: str, pairs: Sequence[PreferencePair], output: Path, seed: int | None = None) -> list[Reply]:
        """The replies of an arm to ``pairs``, kept in ``output``.

        They come from the server that ``generation.replies`` names for the arm; else its model writes them, in as many
        processes as training has.
        """
        seed = self.seeds[0] if seed is None else seed
        server = self.settings.generation.replies.get(name)
        if server is not None:
            return hosted_replies(server, pairs, name, self.run.root / "llm", output)
        model, kind = self.model_of(name, seed), self.settings.launch.kind
        return run_generation(model, pairs, name, self.writing(seed), output, kind)

    def all_answers(self, names: Sequence[str], pairs: Sequence[PreferencePair]) -> list[Reply]:
        """The replies of several arms to ``pairs``, seed by seed, kept in ``replies/<arm>.jsonl``; see ``answers``."""
        found = []
        for seed in self.seeds:
            own = self.folder(seed)
            if self.settings.launch.kind == "none":
                written = [name for name in names if name not in self.settings.generation.replies]
                jobs = [
                    GenerationJob(
                        model=self.model_of(name, seed), arm=name, settings=self.writing(seed), output=own.replies(name)
                    )
                    for name in written
                ]
                generate_side_by_side(jobs, pairs)
            found += [reply for name in names for reply in self.answers(name, pairs, own.replies(name), seed)]
        return found

    # Scores and verdicts

    def held_out(self, names: Sequence[str], pairs: Sequence[PreferencePair]) -> pd.DataFrame:
        """Held-out figures, an arm a row in the order of ``names``; the arms they start from are scored too."""
        starts = {name: self.plan.arms[name].start for name in names if name != BASE}
        needed = dict.fromkeys([*starts.values(), *names])
        rows = []
        for seed in self.seeds:
            own = self.folder(seed)
            scores = {
                name: heldout.score_arm(own, name, self.model_of(name, seed), pairs, self.settings.model)
                for name in needed
            }
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

    def against_chosen(self, judge: Judge, names: Sequence[str], pairs: Sequence[PreferencePair]) -> pd.DataFrame:
        """The judge's verdicts on arms against the data's chosen replies (paper B's Table 3), as ``stats.frame``."""
        return pd.concat([
            stats.frame(compare_preferred(self.folder(seed), judge, pairs, self.folder(seed).replies(name)), seed)
            for seed in self.seeds
            for name in names
        ], ignore_index=True)  # fmt: skip

    def _chat(self) -> Any:
        """The tokenizer whose chat template lays out the prompts, or None where they are plain."""
        model = self.settings.model
        return load_tokenizer(base_model(model.name)) if model.prompt == "chat" else None
