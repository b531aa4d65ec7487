"""Every prompt filled in with a point of the data, for reading: what a language model would be asked, word for word."""

from __future__ import annotations

from pathlib import Path

from guardalign.annotation.stages import Annotator
from guardalign.config.sections import Annotation, JudgeSection
from guardalign.data.construction import Rejection
from guardalign.data.conversations import Conversation, PreferencePair, Turn
from guardalign.judging.llm_judge import LLMJudge
from guardalign.llm import Client, Endpoint, Message

NOBODY = Path("nowhere")
"""A store that is never written to: nothing is asked here."""


def annotation_prompts(pair: PreferencePair, section: Annotation | None = None) -> dict[str, tuple[Message, ...]]:
    """The prompts of Stage 1 and Stage 2, by stage, about the conversation that ``pair`` ends."""
    section = section or Annotation(model="a language model")
    turns = (*pair.turns, Turn(role="agent", text=pair.chosen, tagged=True))
    conversation = Conversation(id=pair.conversation_id, turns=turns, guardrails=pair.guardrails)
    annotator = Annotator(Client(Endpoint.of(section), NOBODY), section)
    filled = annotator.requests(conversation, len(pair.turns), Rejection(pair.rejected, pair.broken))
    return {stage: request.messages for stage, request in filled.items()}


def judge_prompt(pair: PreferencePair, section: JudgeSection | None = None) -> dict[str, tuple[Message, ...]]:
    """The judge's prompt about the chosen and the rejected reply of ``pair``, in the first order."""
    known = section if section and section.model else JudgeSection(kind="llm", model="a language model")
    judge = LLMJudge(Client(Endpoint.of(known), NOBODY), prompts=Path(known.prompts) if known.prompts else None)
    return {"judge": judge.request((pair, pair.chosen, pair.rejected), "12").messages}
