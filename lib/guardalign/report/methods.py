"""The comparison of methods: its table."""

from __future__ import annotations

import pandas as pd


def table_of_methods(held_out: pd.DataFrame, statistics: pd.DataFrame) -> pd.DataFrame:
    """The held-out figures of each arm with its replies' mean length (words), repetition and share cut off."""
    means = statistics.assign(cut_off=~statistics["finished"]).groupby("arm")[["words", "repetition", "cut_off"]].mean()
    return held_out.merge(means, left_on="arm", right_index=True, how="left", validate="one_to_one")
