"""Typed parameters, read from YAML or from a notebook's parameters cell.

A key that is unknown, has the wrong type or is out of range is refused by name. YAML turns ``2e-6`` into a string
(PyYAML requires a dot); the sections convert it back to a number.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError, field_validator

from guardalign.config.plan import BASE, CARE, TAKEN, Contrast, Plan
from guardalign.config.reading import read_mapping
from guardalign.config.sections import (
    NAME,
    Generation,
    JudgeSection,
    Launch,
    Model,
    Pretraining,
    Report,
    Section,
    Source,
    Training,
)
from guardalign.config.task_sections import SideEffects, Tasks
from guardalign.errors import ParameterError


class Params(Section):
    """All sections. A notebook may show only those it uses; asking for another one raises ParameterError."""

    run: str = Field(pattern=rf"^({NAME}(/{NAME})*|(/+[^/\x00-\x1f]{{1,200}})+)$")
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    source: Source
    model: Model
    training: Training
    study: Plan
    generation: Generation
    judge: JudgeSection
    launch: Launch
    report: Report = Report()
    pretraining: Pretraining | None = None
    tasks: Tasks | None = None
    side_effects: SideEffects = SideEffects()

    @field_validator("run", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, Path) else value

    @classmethod
    def load(cls, path: Path | str) -> Params:
        """Read a parameter file; every section must be there. Raises ParameterError naming file and key."""
        return cls.checked(read_mapping(path), f"{path}: ")

    @classmethod
    def checked(cls, content: Mapping[str, Any], where: str = "") -> Params:
        """Parameters as plain data, every section there. Raises ParameterError naming the key, after ``where``."""
        return cls._checked({"report": {}} | dict(content), where, partial=False)

    @classmethod
    def _checked(cls, content: Mapping[str, Any], where: str, partial: bool) -> Params:
        try:
            params = cls.model_validate(content)
        except ValidationError as error:
            problems = [
                problem
                for problem in error.errors(include_url=False)
                if not (partial and problem["type"] == "missing" and len(problem["loc"]) == 1)
            ]
            if problems:
                problems.sort(key=lambda problem: problem["type"] == "missing")
                raise ParameterError("\n".join(where + _complaint(cls, problem) for problem in problems)) from None
            shown = {name: cls._section(name, content[name]) for name in cls.model_fields if name in content}
            params = cls.model_construct(**shown)
        params._agrees(where)
        return params

    @classmethod
    def _section(cls, name: str, value: Any) -> Any:
        kind = _section_type(cls.model_fields[name].annotation)
        return kind.model_validate(value) if isinstance(kind, type) and issubclass(kind, Section) else value

    def _agrees(self, where: str) -> None:
        shown = self.model_fields_set
        judges = [each.kind for each in (self.judge, *self.judge.judges)] if "judge" in shown else []
        if "source" in shown and "embedded" in judges and self.source.kind != "world":
            raise ParameterError(
                f"{where}judge.kind: the embedded judge reads only the guardrails of the embedded world; "
                "with other sources the judge is rules, llm or none"
            )
        if "tasks" in shown:
            for task in set(self.study.tasks) - {CARE, *(self.tasks.sources if self.tasks else ())}:
                raise ParameterError(f"{where}study.tasks: {task!r} is not in the section `tasks`")
        if {"judge", "study"} <= shown and self.judge.kind == "none":
            for name in (name for name, arm in self.study.arms.items() if arm.pairs.replies == "acceptable"):
                raise ParameterError(
                    f"{where}study.arms.{name}: its pairs are acceptable replies, and with judge.kind none nothing "
                    "judges which ones are"
                )
        if {"study", "generation"} <= shown:
            for name in self.generation.replies.keys() & set(TAKEN) - {BASE}:
                raise ParameterError(f"{where}generation.replies: an arm cannot be called {name!r}")
            known = {BASE, *self.study.arms, *self.generation.replies}
            for each in self.study.contrasts:
                for arm in {each.arm_1, each.arm_2} - known:
                    raise ParameterError(f"{where}study.contrasts: {arm!r} is not an arm of the study")

    def contrasts(self) -> tuple[Contrast, ...]:
        """The plan's contrasts, or each arm against its start if it has none.

        A server's arm in none of them is compared with the first one's second arm.
        """
        starts = (Contrast(arm_1=arm.start, arm_2=name) for name, arm in self.study.arms.items())
        planned = self.study.contrasts or tuple(starts)
        met = {arm for each in planned for arm in (each.arm_1, each.arm_2)}
        extra = [name for name in self.generation.replies if name not in met] if planned else []
        return (*planned, *(Contrast(arm_1=planned[0].arm_2, arm_2=name) for name in extra))

    def check_tuning(self) -> None:
        """Raises ParameterError if the plan tunes no arm, or nothing judges the candidates' replies to its own data."""
        if self.study.tuning is None:
            raise ParameterError("study.tuning is missing: params/embedded.yaml shows which arms to tune, and how")
        if CARE in self.study.tasks and self.judge.kind == "none":
            raise ParameterError("study.tuning: with judge.kind none nothing judges which candidate is better")

    def __getattr__(self, name: str) -> Any:
        if name in type(self).model_fields:
            raise ParameterError(f"the section `{name}` is used but not shown in the parameters cell")
        return super().__getattr__(name)  # type: ignore[misc]

    def section(self, name: str) -> Any:
        """One section as plain data, in one canonical form (rates are numbers, defaults are filled in)."""
        return self.sections()[name]

    def sections(self) -> dict[str, Any]:
        """All sections that are there, as plain data."""
        return self.model_dump(mode="json", include=self.model_fields_set)


def read(namespace: Mapping[str, Any]) -> Params:
    """The parameters in a notebook's ``globals()`` that its parameters cell assigned, or papermill's cell after it.

    Without those cells (a script, or all in one cell) every plain value (dict, list, number, text) counts. Raises
    ParameterError if one of them belongs to no section, which reveals a misspelt section.
    """
    names = _parameter_names(namespace.get("In", [])) or {
        name
        for name, value in namespace.items()
        if not name.startswith("_") and name not in ("In", "Out") and _is_plain(value)
    }
    return Params._checked({name: namespace[name] for name in sorted(names & namespace.keys())}, "", partial=True)


def _parameter_names(cells: Sequence[str]) -> set[str]:
    """What the last parameters cell run before this one assigns, and papermill's below it; empty if there is none.

    A parameters cell does nothing but assign, ``run`` among others. IPython keeps the text of every cell run in ``In``.
    """
    found: set[str] = set()
    for cell in reversed(cells[:-1]):
        names = _assigned(cell)
        injected = cell.startswith("# Parameters")  # papermill's own heading
        if injected or "run" in names:
            found |= names
        if "run" in names and not injected:
            return found
    return found


def _assigned(cell: str) -> set[str]:
    """The names that a cell assigns; empty if it does anything else."""
    try:
        statements = ast.parse(cell).body
    except (SyntaxError, ValueError):
        return set()
    targets = [target for each in statements if isinstance(each, ast.Assign) for target in each.targets]
    if not all(isinstance(each, ast.Assign) for each in statements):
        return set()
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, dict | list | str | int | float)


def _complaint(model: type[BaseModel], problem: Any) -> str:
    """One pydantic error as a sentence that names the parameter, with a suggestion if it was misspelt."""
    path = [str(part) for part in problem["loc"] if part != "[key]"]
    name = ".".join(path) or "parameters"
    if problem["type"] == "extra_forbidden":
        return f"unknown parameter `{name}`{_did_you_mean(path, _known(model, path[:-1]))}"
    if problem["type"] == "string_pattern_mismatch":
        return f"`{name[:100]}` is not a valid name: letters, digits, `.`, `_`, `-`, at most 80 (a run may be a path)"
    if problem["type"] == "missing":
        hint = "; params/embedded.yaml shows every section" if len(path) == 1 else ""
        return f"`{name}` is missing{hint}"
    message = re.sub("^(Value error, |Input )", "", problem["msg"])
    value = problem["input"]
    # A value refused by one of our validators may be a key, which must not be printed.
    tells = problem["type"] != "value_error" and _is_plain(value) and not isinstance(value, dict)
    shown = f" (it is {value!r})" if tells else ""
    return f"`{name}` {message}{shown}"


def _known(model: type[BaseModel], path: list[str]) -> tuple[str, ...]:
    """The keys allowed at ``path``."""
    current: Any = model
    for part in path:
        if get_origin(current) is dict:
            current = _section_type(get_args(current)[1])
        elif _is_section(current) and part in current.model_fields:
            current = _section_type(current.model_fields[part].annotation)
        else:
            return ()
    return tuple(current.model_fields) if _is_section(current) else ()


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _section_type(annotation: Any) -> Any:
    """The section inside an annotation such as ``Lora | None``; a dict or a plain type as it is."""
    if get_origin(annotation) is dict:
        return annotation
    return next((option for option in get_args(annotation) if _is_section(option)), annotation)


def _did_you_mean(path: list[str], known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(path[-1], known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean `{'.'.join([*path[:-1], close[0]])}`?"
    return f"; known here: {', '.join(known)}" if known else ""
