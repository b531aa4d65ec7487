"""Text to token sequences: where the prompt ends and the completion starts, one BOS, EOS at the end.

Prompt and completion are tokenised as one text, so that the tokens at the boundary are those of the joint text. A token
that reaches past the prompt's last character belongs to the completion.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from jinja2 import TemplateError
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerBase

from guardalign.data.construction import ChatMessage, format_messages, format_prompt
from guardalign.data.conversations import PreferencePair
from guardalign.data.examples import Example
from guardalign.errors import InputError
from guardalign.tree.prefix_tree import EmptyReply, TokenSequence

Overlong = Literal["refuse", "truncate"]
_CONVERSATION = "Conversation:\n"
_TURNS = ("\nUser: ", "\nAgent: ")


def prompt_of(pair: PreferencePair, chat: PreTrainedTokenizerBase | None = None) -> str:
    """The pair's prompt in the format of paper A, or in the chat template of the tokenizer ``chat``."""
    if chat is None:
        return format_prompt(pair.guardrails, pair.turns)
    return chat_prompt(chat, format_messages(pair.guardrails, pair.turns))


def examples_of(pairs: Iterable[PreferencePair], chat: PreTrainedTokenizerBase | None = None) -> list[Example]:
    """The pairs as text (see ``prompt_of``); after paper A's prompt a completion begins with a space."""
    lead = "" if chat else " "
    return [
        Example(
            id=pair.id,
            conversation_id=pair.conversation_id,
            prompt=prompt_of(pair, chat),
            chosen=f"{lead}{pair.chosen}",
            rejected=f"{lead}{pair.rejected}" if pair.rejected else None,
        )
        for pair in pairs
    ]


def chat_prompt(tokenizer: PreTrainedTokenizerBase, messages: Sequence[ChatMessage]) -> str:
    """The tokenizer's own chat template up to where the assistant speaks; completions follow it as they are.

    Some templates refuse a system message, some leave it out, some (Mistral's) put it into the conversation's last
    message, where it would end what a conversation's points have in common. With all of these its text opens the first
    message of the user. Raises ``InputError`` where there is no template, or it refuses that, too.
    """
    name = tokenizer.name_or_path
    if not tokenizer.chat_template:
        raise InputError(f"the tokenizer of {name} has no chat template: leave model.prompt at plain")
    said = "the guardrails do not stand first"
    for each in (list(messages), _without_system(messages)):
        try:
            given: Any = each  # transformers asks for plain dictionaries, which these are
            text = str(tokenizer.apply_chat_template(given, tokenize=False, add_generation_prompt=True))
        except TemplateError as error:
            said = str(error)
            continue
        if _opens(text, each):
            return text
    raise InputError(f"the chat template of {name} cannot lay out a conversation ({said}): leave model.prompt at plain")


def _without_system(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    system = messages[0]["content"] if messages[0]["role"] == "system" else ""
    turns = list(messages[1:] if system else messages)
    if not turns or turns[0]["role"] != "user":
        return [ChatMessage(role="user", content=system), *turns]
    return [ChatMessage(role="user", content=f"{system}\n\n{turns[0]['content']}".strip()), *turns[1:]]


def _opens(text: str, messages: Sequence[ChatMessage]) -> bool:
    """Whether the first message stands in ``text``, ahead of the second."""
    first, second = [each["content"].strip() for each in messages[:2]] + [""] * (2 - len(messages[:2]))
    at = text.find(first)
    return at >= 0 and text.find(second, at + len(first)) >= 0


def left_padded(rows: Iterable[Sequence[int] | np.ndarray], device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask, both (rows, longest), of rows that end together."""
    tokens = [torch.as_tensor(row) for row in rows]
    ids, mask = (
        pad_sequence(each, batch_first=True, padding_side="left").to(device)
        for each in (tokens, [torch.ones_like(row) for row in tokens])
    )
    return ids, mask


def encode_prompt(tokenizer: PreTrainedTokenizerBase, prompt: str) -> np.ndarray:
    """Token ids (n,) of a prompt to generate from: one BOS where the tokenizer has the habit, no EOS."""
    return _with_bos(tokenizer, tokenizer(prompt, add_special_tokens=False)["input_ids"])


def encode(
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    completions: Sequence[str],
    max_length: int | None = None,
    overlong: Overlong = "refuse",
    names: Sequence[str] | None = None,
) -> list[TokenSequence]:
    """Encode prompts and their completions, EOS appended.

    Longer than ``max_length`` tokens: refused by name, or shortened by the conversation's oldest turns (guardrails and
    the last turn are kept). Raises ``EmptyReply`` for a completion without text, ``InputError`` for an over-long one.
    """
    names = names or [str(i) for i in range(len(prompts))]
    for name, completion in zip(names, completions, strict=True):
        if not completion.strip():
            raise EmptyReply(f"{name}: the reply is empty")
    sequences = _encode_all(tokenizer, prompts, completions)
    if max_length is None:
        return sequences
    for i, sequence in enumerate(sequences):
        if len(sequence.tokens) > max_length:
            if overlong == "refuse":
                raise InputError(
                    f"{names[i]}: {len(sequence.tokens)} tokens, more than max_length {max_length} "
                    "(raise it, or set overlong to truncate)"
                )
            sequences[i] = _shortened(tokenizer, prompts[i], completions[i], max_length, names[i])
    return sequences


def _shortened(
    tokenizer: PreTrainedTokenizerBase, prompt: str, completion: str, max_length: int, name: str
) -> TokenSequence:
    while (shorter := drop_oldest_turn(prompt)) is not None:
        prompt = shorter
        [sequence] = _encode_all(tokenizer, [prompt], [completion])
        if len(sequence.tokens) <= max_length:
            return sequence
    raise InputError(f"{name}: longer than max_length {max_length} even without its older turns")


def drop_oldest_turn(prompt: str) -> str | None:
    """A prompt of paper A's format without its conversation's first turn; None where only one turn is left."""
    head, marker, turns = prompt.rpartition(_CONVERSATION)
    if not marker:
        return None
    cuts = [at for at in (turns.find(turn, 1) for turn in _TURNS) if at >= 0]
    return f"{head}{marker}{turns[min(cuts) + 1 :]}" if cuts else None


def _encode_all(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], completions: Sequence[str]
) -> list[TokenSequence]:
    if not prompts:
        return []
    texts = [prompt + completion for prompt, completion in zip(prompts, completions, strict=True)]
    encoded: Any = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
    sequences = []
    for prompt, ids, offsets in zip(prompts, encoded["input_ids"], encoded["offset_mapping"], strict=True):
        ends = np.array([end for _, end in offsets])
        tokens = _with_bos(tokenizer, ids)
        start = int(np.searchsorted(ends, len(prompt), side="right")) + len(tokens) - len(ids)
        if tokens[-1] != tokenizer.eos_token_id:
            tokens = np.append(tokens, tokenizer.eos_token_id)
        sequences.append(TokenSequence(tokens, start))
    return sequences


def _with_bos(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> np.ndarray:
    bos = tokenizer.bos_token_id
    habit = bos is not None and tokenizer("a")["input_ids"][:1] == [bos]
    return np.array([bos, *ids] if habit and ids[:1] != [bos] else ids, dtype=np.int64)
