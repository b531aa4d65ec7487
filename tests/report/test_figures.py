"""Figures: what is drawn agrees with the table, nothing is cut or overlaps, files are whole and repeatable."""

from __future__ import annotations

import itertools

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb

import simulated_verdicts as simulated
from guardalign import papers, stats
from guardalign.data.conversations import Reply
from guardalign.generation import replystats
from guardalign.report import figures
from guardalign.report.figures import style, words

PAIRS = [pair for _, pair in sorted(papers.PANELS.items())]


@pytest.fixture(scope="module")
def verdicts():
    said = [
        simulated.verdicts(one, two, gain, conversations=25, turns=3, seed=place)
        for place, ((one, two), gain) in enumerate(zip(PAIRS, (0.25, -0.1, 0.1, 0.0, -0.3, 0.05), strict=True))
    ]
    return list(itertools.chain.from_iterable(said))


@pytest.fixture(scope="module")
def rates(verdicts):
    return stats.table(verdicts)


@pytest.fixture(scope="module")
def drawn(verdicts, rates):
    statistics = replystats.reply_statistics(
        itertools.chain(*(simulated.replies(arm) for pair in PAIRS for arm in pair))
    )
    steps = np.arange(1, 61)
    metrics = {
        "M_1SFT": pd.DataFrame({"step": steps, "loss": 1 / steps}),
        "M_ipo": pd.DataFrame({"step": steps, "loss": 2 / steps, "margin": steps / 60, "accuracy": steps / 60}),
    }
    methods = {"M_1SFT": 0.3, "dpo": 0.1, "kto": 0.2, "rpo": 0.4}
    said = [simulated.verdicts(name, "chosen", gain, 12, 3, seed=at) for at, (name, gain) in enumerate(methods.items())]
    against = stats.table(itertools.chain(*said))
    arms = sorted({arm for pair in PAIRS for arm in pair})
    compliance = stats.compliance(
        stats.statuses(verdicts, lambda _, number: f"Rule {number}: say $5 & never {'very ' * 20}much")
    )
    return {
        "figure4": figures.comparison_bars(rates, PAIRS[2:], profile="test"),
        "one": figures.comparison_bars(rates, PAIRS[2:3]),
        "table1": figures.table_1(rates),
        "table3": figures.table_3(against),
        "forest": figures.forest(rates),
        "pairs": figures.pair_map(rates),
        "ranking": figures.ranking(stats.rank(stats.frame(verdicts)), rates),
        "guardrails": figures.guardrail_map(compliance),
        "tradeoff": figures.tradeoff(rates),
        "cost": figures.cost_against_wins(rates, pd.Series({arm: 3.0 + n for n, arm in enumerate(arms)}), "s"),
        "replies": figures.reply_panels(statistics),
        "training": figures.training_curves(metrics),
    }


NAMES = [
    "figure4", "one", "table1", "table3", "forest", "pairs", "ranking", "guardrails", "tradeoff", "cost", "replies",
    "training",
]  # fmt: skip


def texts(figure):
    """Visible texts of a drawn figure and where they stand (pixels)."""
    canvas = FigureCanvasAgg(figure)
    with matplotlib.rc_context(style.SETTINGS):
        canvas.draw()
        renderer = canvas.get_renderer()
    found = [t for t in figure.findobj(matplotlib.text.Text) if t.get_visible() and t.get_text().strip()]
    unseen = {id(label) for axes in figure.axes for label in unseen_labels(axes)}
    return [(text, text.get_window_extent(renderer)) for text in found if id(text) not in unseen]


def unseen_labels(axes):
    """Texts of hidden axes, and of ticks that lie outside the axes' limits."""
    if not axes.get_visible():
        yield from axes.findobj(matplotlib.text.Text)
    for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        low, high = sorted(limits)
        slack = 1e-9 * (high - low)
        for tick in (*axis.majorTicks, *axis.minorTicks):
            if not low - slack <= tick.get_loc() <= high + slack:
                yield from (tick.label1, tick.label2)


@pytest.mark.parametrize("name", NAMES)
def test_no_text_is_cut_and_no_two_overlap(drawn, name):
    figure = drawn[name]
    width, height = figure.get_size_inches() * figure.dpi
    placed = texts(figure)
    assert len(placed) > 5
    for text, box in placed:
        inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1
        assert inside, f"{name}: “{text.get_text()}” is cut"
    for (one, a), (two, b) in itertools.combinations(placed, 2):
        shared_x, shared_y = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert not (shared_x > 2 and shared_y > 2), f"{name}: “{one.get_text()}” covers “{two.get_text()}”"


def test_the_bars_are_the_tables_shares(drawn, rates):
    axes = drawn["one"].axes[0]
    row = rates[(rates["arm_1"] == PAIRS[2][0]) & (rates["arm_2"] == PAIRS[2][1])].set_index("dimension")
    widths = [bar.get_width() for bar in axes.patches]
    expected = [row.loc[d, m] for d in ("adherence", "naturalness", "hallucination") for m in style.BINS]
    assert widths == pytest.approx(expected)
    assert sum(widths) == pytest.approx(3)


def test_the_papers_numbers_stand_apart_and_are_the_printed_ones(drawn):
    notes = [text.get_text() for text in drawn["one"].axes[0].texts]
    assert "paper A:\n70 · 77" in notes and "paper A:\n48 · 66" in notes and "paper A:\n96 · 93" in notes
    hollow = drawn["table1"].axes[0].lines
    diamonds = next(line for line in hollow if line.get_marker() == "D")
    assert list(diamonds.get_xdata()) == [70.4, 76.9, 69.2, 74.2, 72.3, 79.4]


def test_titles_state_the_finding_and_captions_its_basis(drawn, rates):
    row = rates[(rates["arm_1"] == "M_1SFT") & (rates["arm_2"] == "M_1SFT_ipo")].iloc[0]
    assert drawn["one"].get_label() == words.finding(row, str)
    caption = drawn["one"].get_supxlabel().replace("\n", " ")
    for part in (
        "n = 75 judged prompts of 25 conversations",
        "judge: embedded",
        "2 orders",
        "95 % intervals of these trained models",
        "1 training",
    ):
        assert part in caption
    assert "profile: test" in drawn["figure4"].get_supxlabel().replace("\n", " ")


def test_a_finding_names_who_is_ahead_only_where_it_is_clear():
    row = pd.Series({
        "arm_1": "a", "arm_2": "b", "dimension": "adherence", "n": 9, "net": -0.1, "net_low": -0.15, "net_high": -0.05,
        "clear": True,
    })  # fmt: skip
    clear = words.finding(row, str).replace(words.HOLD, " ")
    assert clear == "b keeps its guardrails more often than a: +10.0 [+5.0, +15.0] points"
    unclear = words.finding(pd.Series({**row, "clear": False}), str)
    assert unclear.startswith("No clear difference in adherence between b and a")


def test_saving_writes_three_whole_files_with_the_same_bytes_each_time(rates, tmp_path):
    contents = []
    for folder in ("first", "second"):
        figure = figures.comparison_bars(rates, PAIRS[2:3])
        paths = figures.save(figure, rates, tmp_path / folder / "figure.v1")
        assert [path.name for path in paths] == ["figure.v1.png", "figure.v1.svg", "figure.v1.csv"]
        contents.append([path.read_bytes() for path in paths])
    assert contents[0] == contents[1]
    assert contents[0][0].startswith(b"\x89PNG") and b"</svg>" in contents[0][1]
    back = pd.read_csv(tmp_path / "first" / "figure.v1.csv")
    assert back["win_1"].to_numpy() == pytest.approx(rates["win_1"].to_numpy())


def test_drawing_leaves_the_readers_own_settings_alone(rates):
    before = dict(matplotlib.rcParams)
    figures.forest(rates)
    assert dict(matplotlib.rcParams) == before


def lightness(colour):
    """CIE L* of an sRGB colour."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    y = float(np.dot(linear, [0.2126, 0.7152, 0.0722]))
    return 116 * y ** (1 / 3) - 16 if y > 0.008856 else 903.3 * y


def test_the_four_bins_are_told_apart_in_grey():
    levels = sorted(lightness(colour) for colour in style.BINS.values())
    assert min(np.diff(levels)) > 8


def test_notation_is_the_papers():
    assert papers.mathtext("M_1SFT_ipo") == r"$M_{\mathrm{1SFT}}^{\mathrm{ipo}}$"
    assert papers.mathtext("M_kto") == r"$M^{\mathrm{kto}}$" and papers.mathtext("N_1SFT") == r"$N_{\mathrm{1SFT}}$"
    assert papers.mathtext("base") == "base" and papers.notation("my_model$") == ("my_model$", "", "")


def test_repetition_and_length_by_hand():
    assert replystats.repetition("one two three one two three") == pytest.approx(1 / 4)
    assert replystats.repetition("no no no no no") == pytest.approx(2 / 3)
    assert replystats.repetition("too short") == 0.0
    reply = Reply(pair_id="p", conversation_id="c", arm="a", text="Thank you, dear customer!", tokens=6, finished=False)
    row = replystats.reply_statistics([reply]).iloc[0]
    assert (row["words"], row["tokens"], row["finished"]) == (4, 6, False)


def test_missing_metrics_and_arms_that_never_met_are_no_error(rates):
    curves = figures.training_curves({"M_1SFT": pd.DataFrame({"step": [1, 2], "loss": [1.0, 0.5]})})
    assert sum(axes.get_visible() for axes in curves.axes) == 1
    alone = figures.comparison_bars(rates[rates["arm_1"] == "N_1SFT"])
    assert len(alone.axes) == 1
    other = rates.assign(arm_1="mine", arm_2="yours", comparison="mine-vs-yours").head(3)
    assert "was judged" in figures.table_1(other).get_label()


def crowd(count):
    arms = [f"M_1SFT_{method}" for method in ("dpo", "ipo", "kto", "slic", "hinge", "rpo", "orpo", "cpo", "ppo", "sft")]
    return list(itertools.combinations(arms, 2))[:count]


@pytest.mark.parametrize("draw", [
    lambda rates, rows: figures.forest(rates),
    lambda rates, rows: figures.pair_map(rates),
    lambda rates, rows: figures.tradeoff(rates),
    lambda rates, rows: figures.ranking(stats.rank(rows), rates),
    lambda rates, rows: figures.comparison_bars(rates, crowd(6)),
])  # fmt: skip
def test_many_arms_still_fit(crowded, draw):
    figure = draw(*crowded)
    test_no_text_is_cut_and_no_two_overlap({"crowd": figure}, "crowd")


@pytest.fixture(scope="module")
def crowded():
    said = [
        simulated.verdicts(one, two, 0.02 * place - 0.2, conversations=8, turns=2, seed=place)
        for place, (one, two) in enumerate(crowd(14))
    ]
    rows = stats.frame(itertools.chain.from_iterable(said))
    return stats.table(rows), rows


def test_arms_that_all_tie_get_titles_that_say_so(crowded):
    level = {f"win_{side}{end}": value for side in (1, 2) for end, value in (("", 0.5), ("_low", 0.4), ("_high", 0.6))}
    rates = crowded[0].assign(strict=0.5, **level)
    assert figures.pair_map(rates).get_label() == "No pair of arms differs in adherence"
    assert "nan" not in figures.tradeoff(rates).get_label()


def test_paper_bs_numbers_stand_in_a_panel_of_their_own(drawn):
    here, paper = drawn["table3"].axes
    printed = papers.table_3()
    assert [list(line.get_xdata())[:7] for line in paper.lines if line.get_marker() in set("Ds^")] == [
        printed[name].tolist() for name in ("hh", "tldr", "alpaca_eval")
    ]
    assert not {line.get_marker() for line in here.lines} & set("Ds^")
    assert sum(text.get_text() == "not trained here" for text in here.texts) == 4


def test_more_arms_than_colours_still_look_different():
    assert len({style.look(place, style.LINES) for place in range(32)}) == 32
    assert len({style.look(place, style.MARKERS) for place in range(32)}) == 32
