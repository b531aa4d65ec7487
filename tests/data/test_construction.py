"""Points and prompts: Fig. 1b's order, prefixes shared, one point a tagged agent turn."""

from __future__ import annotations

from guardalign.data.construction import Rejection, data_card, format_prompt, points
from guardalign.data.conversations import Conversation, Turn

TALK = Conversation(
    id="c",
    turns=(
        Turn(role="agent", text="Welcome.", tagged=True),
        Turn(role="user", text="My card is gone."),
        Turn(role="agent", text="I am sorry. Which card?", tagged=True),
        Turn(role="user", text="The blue one."),
        Turn(role="agent", text="One moment."),
        Turn(role="user", text="Well?"),
        Turn(role="agent", text="It is blocked.", tagged=True),
    ),
    guardrails=('Say "sorry".', "Ask at most one question. Größe: 1"),
    domain="bank",
)


def test_the_prompt_follows_fig_1b():
    prompt = format_prompt(TALK.guardrails, TALK.turns[1:4])
    landmarks = [
        ">>>\n",
        '"guardrails"',
        '"1": "Say \\"sorry\\"."',
        '"2": "Ask at most one question. Größe: 1"',
        "<<<\n",
        'follow "Agent:"',
        "Conversation:\n",
        "User: My card is gone.\n",
        "Agent: I am sorry. Which card?\n",
        "User: The blue one.\n",
    ]
    positions = [prompt.index(landmark) for landmark in landmarks]
    assert positions == sorted(positions)
    assert prompt.endswith("\nAgent:")


def test_earlier_prompts_are_prefixes_of_later_ones():
    early = format_prompt(TALK.guardrails, TALK.turns[:2])
    late = format_prompt(TALK.guardrails, TALK.turns[:4])
    assert late.startswith(early)


def test_one_point_per_tagged_agent_turn_that_answers_a_user():
    made = points(TALK, lambda conversation, index: Rejection(f"bad {index}", (1,)))
    assert [point.id for point in made] == ["c.2", "c.6"]
    assert [point.chosen for point in made] == ["I am sorry. Which card?", "It is blocked."]
    assert [point.rejected for point in made] == ["bad 2", "bad 6"]
    assert all(point.turns == TALK.turns[: int(point.id[2:])] and point.turns[-1].role == "user" for point in made)
    assert {(point.conversation_id, point.domain, point.broken) for point in made} == {("c", "bank", (1,))}


def test_no_point_without_a_different_reply():
    assert points(TALK, lambda conversation, index: None) == []
    assert points(TALK, lambda conversation, index: Rejection(conversation.turns[index].text + " ")) == []


def test_the_data_card_counts_by_split():
    made = points(TALK, lambda conversation, index: Rejection("no"))
    made = [made[0], made[1].model_copy(update={"split": "test", "conversation_id": "d"})]
    train, test = data_card(made)
    assert (train["split"], train["points"], train["turns of history"], train["words in chosen"]) == ("train", 1, 2, 5)
    assert (test["split"], test["conversations"], test["words in rejected"], test["chosen is longer"]) == (
        "test",
        1,
        1,
        1,
    )
