from __future__ import annotations

import numpy as np
import pytest

from guardalign.config.sections import Model
from guardalign.data.conversations import PreferencePair, Turn
from guardalign.errors import InputError
from guardalign.models.encoding import chat_prompt, encode, encode_prompt, examples_of, fitted, lengths_of
from tiny import make_tokenizer

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA_3 = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content }}"
    "<|eot_id|>{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
MISTRAL = "{{ bos_token }}{% for m in messages %}[INST] {{ m.content }} [/INST]{% endfor %}"
ALTERNATING = """{{ bos_token }}{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}
{{ raise_exception('roles must alternate user/assistant') }}{% endif %}
{%- if m.role == 'user' %}[INST] {{ m.content }} [/INST]{% else %}{{ m.content + eos_token }}{% endif %}{% endfor %}"""
SYSTEM_LAST = """{{ bos_token }}{% for m in messages if m.role != 'system' %}{% if m.role == 'user' %}[INST]
{%- if loop.last and messages[0].role == 'system' %} {{ messages[0].content }}

{% endif %} {{ m.content }} [/INST]{% else %}{{ m.content + eos_token }}{% endif %}{% endfor %}"""
SYSTEM_LOST = SYSTEM_LAST.replace(" and messages[0].role == 'system'", " and false")


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


def test_prompt_and_reply_are_one_text_with_one_bos_and_an_eos(tokenizer):
    [s] = encode(tokenizer, ["User: hello\nAgent:"], [" thanks."])
    assert tokenizer.decode(s.tokens) == "<s>User: hello\nAgent: thanks.</s>"
    assert tokenizer.decode(s.tokens[: s.start]) == "<s>User: hello\nAgent:"
    assert np.array_equal(s.tokens[: s.start], encode_prompt(tokenizer, "User: hello\nAgent:"))


def test_a_token_across_the_boundary_belongs_to_the_reply(tokenizer):
    [whole] = encode(tokenizer, ["User: or"], ["der."])
    joint = tokenizer("User: order.", add_special_tokens=False)["input_ids"]
    assert whole.tokens.tolist() == [1, *joint, 2]
    assert tokenizer.decode(whole.tokens[whole.start :]) == " order.</s>"


def test_a_bos_that_the_text_already_has_is_not_put_twice(tokenizer):
    [s] = encode(tokenizer, ["<s>User: hello\nAgent:"], [" thanks."])
    assert s.tokens.tolist().count(1) == 1


@pytest.mark.parametrize("template", [CHATML, LLAMA_3, MISTRAL], ids=["chatml and qwen", "llama 3", "mistral"])
def test_chat_templates_keep_one_bos_and_end_in_eos(tokenizer, template):
    tokenizer.chat_template = template
    prompt = chat_prompt(tokenizer, [{"role": "user", "content": "hello"}])
    [s] = encode(tokenizer, [prompt], ["thanks."])
    assert (s.tokens[0], s.tokens.tolist().count(1)) == (1, 1)
    assert s.tokens[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(s.tokens[s.start :]) == "thanks.</s>"


def talk(*texts: str, opens: str = "user") -> PreferencePair:
    roles = ("user", "agent") if opens == "user" else ("agent", "user")
    turns = tuple(Turn(role=roles[i % 2], text=text) for i, text in enumerate(texts))
    return PreferencePair(
        id="c.1", conversation_id="c", guardrails=("say page 7",), turns=turns, chosen="thanks.", rejected="no."
    )


@pytest.mark.parametrize("template", [CHATML, LLAMA_3], ids=["chatml and qwen", "llama 3"])
def test_a_chat_templates_system_message_holds_the_guardrails(tokenizer, template):
    tokenizer.chat_template = template
    [example] = examples_of([talk("hello", "sorry", "refund please")], tokenizer)
    system, user = example.prompt.index("system"), example.prompt.index("user", example.prompt.index("say page 7"))
    assert system < example.prompt.index("say page 7") < user < example.prompt.index("refund please")
    assert example.prompt.endswith(("assistant\n", "assistant<|end_header_id|>\n\n"))
    assert (example.chosen, example.rejected) == ("thanks.", "no.")


@pytest.mark.parametrize("template", [ALTERNATING, SYSTEM_LAST, SYSTEM_LOST], ids=["refused", "put last", "left out"])
@pytest.mark.parametrize("opens", ["user", "agent"])
def test_guardrails_open_the_first_message_where_a_template_has_no_system_message(tokenizer, template, opens):
    tokenizer.chat_template = template
    turns = ["hello", "sorry", "refund please", "soon", "thanks"][opens == "agent" :]
    early, late = examples_of([talk(*turns[:-2], opens=opens), talk(*turns, opens=opens)], tokenizer)
    assert early.prompt.startswith("<s>[INST] Below are the guardrails")
    assert early.prompt.count("say page 7") == late.prompt.count("say page 7") == 1
    assert late.prompt.startswith(early.prompt), "a conversation's prompts share all that they have in common"
    assert late.prompt.index("[/INST]") > late.prompt.index(turns[0]) or opens == "agent"


def test_a_template_that_cannot_be_used_is_named(tokenizer):
    tokenizer.chat_template = "{{ raise_exception('tools only') }}"
    with pytest.raises(InputError, match="tools only"):
        examples_of([talk("hello")], tokenizer)
    tokenizer.chat_template = None
    with pytest.raises(InputError, match="has no chat template"):
        examples_of([talk("hello")], tokenizer)


def test_a_tokenizer_without_the_habit_gets_no_bos():
    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.post_processor = None
    [s] = encode(tokenizer, ["User:"], [" hello."])
    assert 1 not in s.tokens


def limits(tokenizer, pair: PreferencePair, spare: int = 0, **options) -> Model:
    [length] = lengths_of([pair], tokenizer, options.get("prompt", "plain"))
    return Model(name="m", max_length=length + spare, **{"overlong": "truncate"} | options)


@pytest.mark.parametrize("prompt", ["plain", "chat"])
def test_a_pair_that_is_too_long_gives_up_its_oldest_turns_for_both_replies(tokenizer, prompt):
    tokenizer.chat_template = CHATML
    whole = talk("hello order", "sorry parcel", "refund please").model_copy(update={"rejected": "no " * 6 + "refund."})
    assert fitted([whole], tokenizer, limits(tokenizer, whole, prompt=prompt)) == ([whole], {})
    ([cut], refused) = fitted([whole], tokenizer, limits(tokenizer, whole, -1, prompt=prompt))
    assert (cut.turns, refused) == (whole.turns[1:], {})
    assert cut.model_copy(update={"turns": whole.turns}) == whole
    [example] = examples_of([cut], tokenizer if prompt == "chat" else None)
    chosen, rejected = encode(tokenizer, [example.prompt] * 2, [example.chosen, str(example.rejected)])
    assert np.array_equal(chosen.tokens[: chosen.start], rejected.tokens[: rejected.start])
    assert "say page 7" in example.prompt and "hello order" not in example.prompt


def test_pairs_that_cannot_be_shortened_enough_are_returned_with_their_length(tokenizer):
    short, long = talk("hello"), talk("sorry", "hello", "order " * 30).model_copy(update={"id": "c.9"})
    [alone] = lengths_of([long.model_copy(update={"turns": long.turns[2:]})], tokenizer)
    for overlong, length in (("truncate", alone), ("refuse", lengths_of([long], tokenizer)[0])):
        model = limits(tokenizer, short, 2, overlong=overlong)
        assert fitted([long, short], tokenizer, model) == ([short], {"c.9": length})


def test_over_long_examples_are_refused_by_name(tokenizer):
    with pytest.raises(InputError, match=r"point-3: \d+ tokens"):
        encode(tokenizer, [examples_of([talk("hello order")])[0].prompt], [" thanks."], 20, ["point-3"])


def test_empty_replies_are_refused_by_name(tokenizer):
    with pytest.raises(InputError, match="point-1"):
        encode(tokenizer, ["User: hello\nAgent:"], ["  "], names=["point-1"])


def test_a_pairs_reply_follows_its_prompt_after_a_space():
    pair = PreferencePair(
        id="p", conversation_id="c", turns=(Turn(role="user", text="hello"),), chosen="thanks", rejected="no"
    )
    [example] = examples_of([pair])
    assert example.prompt.endswith("User: hello\nAgent:")
    assert (example.chosen, example.rejected) == (" thanks", " no")
