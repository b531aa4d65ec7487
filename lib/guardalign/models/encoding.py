"""Text to token sequences: where the prompt ends and the completion starts, one BOS, EOS at the end.

Prompt and completion are tokenised as one text, so that the tokens at the boundary are those of the joint text. A token
that reaches past the prompt's last character belongs to the completion.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from jinja2 import TemplateError
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerBase

from guardalign.config.sections import Model
from guardalign.data.construction import ChatMessage, format_messages, format_prompt
from guardalign.data.conversations import PreferencePair
from guardalign.data.examples import Example, Prompt
from guardalign.errors import InputError
from guardalign.tree.prefix_tree import TokenSequence

TEXTS_AT_ONCE = 500
"""What the tokenizer returns takes many times the memory of the ids that are kept."""


def prompt_of(pair: Prompt, chat: PreTrainedTokenizerBase | None = None) -> str:
    """The pair's prompt in the format of paper A, or in the chat template of ``chat``; an example's own as it is."""
    if isinstance(pair, Example):
        return pair.prompt
    if chat is None:
        return format_prompt(pair.guardrails, pair.turns)
    return chat_prompt(chat, format_messages(pair.guardrails, pair.turns))


def examples_of(pairs: Iterable[Prompt], chat: PreTrainedTokenizerBase | None = None) -> list[Example]:
    """The pairs as text (see ``prompt_of``); after paper A's prompt a completion begins with a space."""
    lead = "" if chat else " "
    return [
        pair
        if isinstance(pair, Example)
        else Example(
            id=pair.id,
            conversation_id=pair.conversation_id,
            prompt=prompt_of(pair, chat),
            chosen=f"{lead}{pair.chosen}",
            rejected=f"{lead}{pair.rejected}" if pair.rejected else None,
        )
        for pair in pairs
    ]


def chat_prompt(tokenizer: PreTrainedTokenizerBase, messages: Sequence[ChatMessage]) -> str:
    """The tokenizer's own chat template up to the assistant's turn; completions follow it unchanged.

    Some templates refuse a system message, some leave it out, some (Mistral's) put it into the conversation's last
    message, where it would end what a conversation's points have in common. In all of these cases its text is put at
    the start of the user's first message. Raises ``InputError`` without a template, or if it refuses that too.
    """
    name = tokenizer.name_or_path
    if not tokenizer.chat_template:
        raise InputError(f"the tokenizer of {name} has no chat template: leave model.prompt at plain")
    reason = "the guardrails do not come first"
    for each in (list(messages), _without_system(messages)):
        try:
            dictionaries: Any = each  # transformers asks for plain dictionaries, which these are
            text = str(tokenizer.apply_chat_template(dictionaries, tokenize=False, add_generation_prompt=True))
        except TemplateError as error:
            reason = str(error)
            continue
        if _opens(text, each):
            return text
    raise InputError(
        f"the chat template of {name} cannot lay out a conversation ({reason}): leave model.prompt at plain"
    )


def _without_system(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    system = messages[0]["content"] if messages[0]["role"] == "system" else ""
    turns = list(messages[1:] if system else messages)
    if not turns or turns[0]["role"] != "user":
        return [ChatMessage(role="user", content=system), *turns]
    return [ChatMessage(role="user", content=f"{system}\n\n{turns[0]['content']}".strip()), *turns[1:]]


def _opens(text: str, messages: Sequence[ChatMessage]) -> bool:
    """Whether ``text`` holds the first two messages (or the only one), in their order."""
    at = 0
    for content in (each["content"].strip() for each in messages[:2]):
        found = text.find(content, at)
        if found < 0:
            return False
        at = found + len(content)
    return True


def left_padded(rows: Iterable[Sequence[int] | np.ndarray], device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask, both (rows, longest), of rows that end together."""
    tokens = [torch.as_tensor(row) for row in rows]
    ids, mask = (
        pad_sequence(each, batch_first=True, padding_side="left").to(device)
        for each in (tokens, [torch.ones_like(row) for row in tokens])
    )
    return ids, mask


def encode_prompt(tokenizer: PreTrainedTokenizerBase, prompt: str) -> np.ndarray:
    """Token ids (n,) of a prompt to generate from: one BOS if the tokenizer adds it, no EOS."""
    return _with_bos(tokenizer, tokenizer(prompt, add_special_tokens=False)["input_ids"])


def encode(
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    completions: Sequence[str],
    max_length: int | None = None,
    names: Sequence[str] | None = None,
) -> list[TokenSequence]:
    """Encode prompts and their completions, EOS appended.

    Raises ``InputError``, by name, for a completion without text and for one that ends beyond ``max_length`` tokens.
    """
    names = names or [str(i) for i in range(len(prompts))]
    for name, completion in zip(names, completions, strict=True):
        if not completion.strip():
            raise InputError(f"{name}: the reply is empty")
    sequences = _encode_all(tokenizer, prompts, completions)
    for name, sequence in zip(names, sequences, strict=True):
        if max_length is not None and len(sequence.tokens) > max_length:
            raise InputError(f"{name}: {len(sequence.tokens)} tokens, more than max_length {max_length}: raise it")
    return sequences


def lengths_of(pairs: Sequence[PreferencePair], tokenizer: PreTrainedTokenizerBase, prompt: str = "plain") -> list[int]:
    """Tokens of each pair's prompt and the longer of its replies; ``prompt`` is that of ``sections.Model``."""
    examples = examples_of(pairs, tokenizer if prompt == "chat" else None)
    replies = [[e.chosen for e in examples], [e.rejected or e.chosen for e in examples]]
    encoded = (_encode_all(tokenizer, [e.prompt for e in examples], side) for side in replies)
    return [max(len(one.tokens), len(two.tokens)) for one, two in zip(*encoded, strict=True)]


def fitted(
    pairs: Sequence[PreferencePair], tokenizer: PreTrainedTokenizerBase, model: Model
) -> tuple[list[PreferencePair], dict[str, int]]:
    """The pairs that fit into ``model.max_length``, and the tokens of those that do not, by id.

    With ``overlong: truncate`` a pair gives up whole turns, oldest first and never the last, until its longer reply
    fits. The pair itself gets shorter: both replies, policy and reference, training and evaluation share its prompt.
    """
    kept, waiting = list(pairs), list(range(len(pairs)))
    too_long: dict[int, int] = {}
    while waiting:
        lengths = lengths_of([kept[i] for i in waiting], tokenizer, model.prompt)
        over = {i: length for i, length in zip(waiting, lengths, strict=True) if length > model.max_length}
        waiting = [i for i in over if model.overlong == "truncate" and len(kept[i].turns) > 1]
        too_long |= {i: length for i, length in over.items() if i not in waiting}
        for i in waiting:
            kept[i] = kept[i].model_copy(update={"turns": kept[i].turns[1:]})
    return [pair for i, pair in enumerate(kept) if i not in too_long], {kept[i].id: n for i, n in too_long.items()}


def _encode_all(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], completions: Sequence[str]
) -> list[TokenSequence]:
    sequences = []
    for first in range(0, len(prompts), TEXTS_AT_ONCE):
        batch = slice(first, first + TEXTS_AT_ONCE)
        texts = [prompt + completion for prompt, completion in zip(prompts[batch], completions[batch], strict=True)]
        encoded: Any = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
        for prompt, ids, offsets in zip(prompts[batch], encoded["input_ids"], encoded["offset_mapping"], strict=True):
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
