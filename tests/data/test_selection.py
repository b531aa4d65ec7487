"""Parts of the conversations, and exchanged labels."""

from __future__ import annotations

from guardalign.data.conversations import PreferencePair, Turn
from guardalign.data.selection import exchanged, part


def pairs(conversations: int, points: int = 3) -> list[PreferencePair]:
    turns = (Turn(role="user", text="Hi"),)
    return [
        PreferencePair(id=f"{c}-{p}", conversation_id=f"c{c}", turns=turns, chosen=f"good {c}", rejected=f"bad {c}")
        for c in range(conversations)
        for p in range(points)
    ]


def test_parts_are_disjoint_hold_whole_conversations_and_leave_none_out():
    whole = pairs(11)
    parts = [part(whole, (k, 4)) for k in range(1, 5)]
    assert [pair for each in parts for pair in each] == whole
    assert sorted(len(each) // 3 for each in parts) == [2, 3, 3, 3]
    assert part(whole, None) == whole


def test_a_share_of_the_pairs_is_exchanged_and_a_larger_share_exchanges_these_too():
    whole = pairs(20)
    wrong = {}
    for share in (0.0, 0.1, 0.4, 1.0):
        made = exchanged(whole, share, seed=1)
        wrong[share] = {one.id for one, two in zip(made, whole, strict=True) if one.chosen == two.rejected}
        assert len(wrong[share]) == 60 * share and [each.id for each in made] == [each.id for each in whole]
        assert all(
            {one.chosen, one.rejected} == {two.chosen, two.rejected} for one, two in zip(made, whole, strict=True)
        )
    assert wrong[0.1] < wrong[0.4]
    assert [each.chosen for each in exchanged(whole, 0.4, 2)] != [each.chosen for each in exchanged(whole, 0.4, 1)]
