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
from guardalign.config.params import Params
from guardalign.generation import replystats
from guardalign.losses import METHODS
from guardalign.report import figures, tables
from guardalign.report.figures import style, words
from guardalign.report.figures.looks import look, looks, plain
from series import ROOT

PAIRS = [pair for _, pair in sorted(papers.PANELS.items())]
PLAN = Params.load(ROOT / "params" / "embedded.yaml").study


@pytest.fixture(scope="module")
def verdicts():
    by_pair = [
        simulated.verdicts(one, two, gain, conversations=25, turns=3, seed=index)
        for index, ((one, two), gain) in enumerate(zip(PAIRS, (0.25, -0.1, 0.1, 0.0, -0.3, 0.05), strict=True))
    ]
    return list(itertools.chain.from_iterable(by_pair))


@pytest.fixture(scope="module")
def rates(verdicts):
    return stats.table(stats.frame(verdicts))


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
    by_method = [
        simulated.verdicts(name, "chosen", gain, 12, 3, seed=at) for at, (name, gain) in enumerate(methods.items())
    ]
    against = stats.table(stats.frame(itertools.chain(*by_method)))
    arms = sorted({arm for pair in PAIRS for arm in pair})
    statuses = stats.statuses(verdicts, lambda _, number: f"Rule {number}: say $5 & never {'very ' * 20}much")
    kept = tables.arms(stats.frame(verdicts), stats.adherence(statuses))
    apart = tables.differences(rates, stats.exchanged(statuses, PAIRS), [("M_1SFT", "M_1SFT_ipo")])
    costs = pd.DataFrame({"arm": arms, "seconds_in_all": [3.0 + index for index in range(len(arms))]})
    held_out = pd.DataFrame({"arm": arms, "accuracy": 0.8, "accuracy_low": 0.7, "accuracy_high": 0.9, "nll": 1.0,
                             "n": 30, "seeds": 1, "conversations": 10})  # fmt: skip
    return {
        "figure4": figures.comparison_bars(rates, PAIRS[2:], profile="test"),
        "one": figures.comparison_bars(rates, PAIRS[2:3]),
        "table1": figures.table_1(rates),
        "table3": figures.table_3(against),
        "contrasts": figures.contrasts(apart, ["adherence", "applications"]),
        "arms": figures.arms(kept, marks=["M_kto"]),
        "ranking": figures.ranking(stats.rank(stats.frame(verdicts)), rates),
        "guardrails": figures.guardrail_map(stats.compliance(statuses)),
        "grid": figures.grid(sweep(), sweep().iloc[[1, 6, 8]]),
        "cost": figures.cost(costs, kept),
        "held_out": figures.held_out(held_out),
        "replies": figures.reply_panels(statistics, marks=["M_kto"]),
        "training": figures.training_curves(metrics, PLAN),
        "trend": figures.trend(TREND, {"sft": "SFT", "ipo": "SFT then IPO"}, "Prompts with all guardrails kept"),
    }


TREND = pd.DataFrame([
    {"panel": panel, "x": x, "line": line, "value": value, "low": value - 0.1, "high": value + 0.1}
    for panel, xs in {"By pairs": (280, 17, 70), "By reference": ("its start", "random")}.items()
    for line, gain in (("sft", 0.0), ("ipo", 0.2))
    for x, value in zip(xs, (0.5 + gain, 0.3 + gain, 0.4 + gain), strict=False)
]).assign(seeds=5, conversations=40)  # fmt: skip


def sweep():
    rows = itertools.product(("base", "M_1SFT"), ("ipo_mean", "kto_pair"), (1e-4, 5e-4), (0.1, 1.0))
    table = pd.DataFrame(rows, columns=["start", "method", "learning_rate", "beta"])
    return table.assign(worth=np.linspace(0.1, 0.9, len(table)))


NAMES = [
    "figure4", "one", "table1", "table3", "contrasts", "arms", "ranking", "guardrails", "grid", "cost", "held_out",
    "replies", "training", "trend",
]  # fmt: skip


def points(axes):
    """The marked points of axes from the top row to the bottom: (x, marker's fill)."""
    found = [
        (float(y), float(x), face[3] > 0)
        for each in axes.collections
        if isinstance(each, matplotlib.collections.PathCollection)
        for (x, y), face in zip(each.get_offsets(), each.get_facecolors(), strict=True)
    ]
    return [(x, filled) for _, x, filled in sorted(found)]


def texts(figure):
    """Visible texts of a drawn figure and their positions (pixels)."""
    canvas = FigureCanvasAgg(figure)
    with matplotlib.rc_context(style.SETTINGS):
        canvas.draw()
        renderer = canvas.get_renderer()
    found = [t for t in figure.findobj(matplotlib.text.Text) if t.get_visible() and t.get_text().strip()]
    unseen = {id(label) for axes in figure.axes for label in unseen_labels(axes)}
    return [(text, text.get_window_extent(renderer)) for text in found if id(text) not in unseen]


def unseen_labels(axes):
    """Texts of hidden axes, and of ticks outside the axes' limits."""
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
    expected = [row.loc[d, m] for m in style.BINS for d in ("adherence", "naturalness", "hallucination")]
    assert widths == pytest.approx(expected)
    assert sum(widths) == pytest.approx(3)


def test_the_papers_numbers_stand_apart_and_are_the_printed_ones(drawn):
    notes = [text.get_text() for text in drawn["one"].axes[0].texts]
    assert "paper A:\n70 · 77" in notes and "paper A:\n48 · 66" in notes and "paper A:\n96 · 93" in notes
    hollow = [x for x, filled in points(drawn["table1"].axes[0]) if not filled]
    assert hollow == pytest.approx([70.4, 76.9, 69.2, 74.2, 72.3, 79.4])
    here, *paper = drawn["table3"].axes
    printed = papers.table_3()
    for axes, name in zip(paper, ("hh", "tldr", "alpaca_eval"), strict=True):
        assert points(axes) == [(pytest.approx(value), False) for value in printed[name]]
    assert [filled for _, filled in points(here)] == [True] * 4


def test_a_contrast_is_the_second_arm_less_the_first_and_words_stand_at_its_sides(drawn, rates):
    adherence = rates[rates["dimension"] == "adherence"].set_index(["arm_1", "arm_2"])
    axes, other = drawn["contrasts"].axes
    order = [("M_1SFT", "M_1SFT_ipo"), *(pair for pair in PAIRS if pair != ("M_1SFT", "M_1SFT_ipo"))]
    assert [x for x, _ in points(axes)] == pytest.approx([-100 * adherence.loc[pair, "net"] for pair in order])
    left = [label.get_text().replace("\n", " ") for label in axes.get_yticklabels()]
    right = [label.get_text().replace("\n", " ") for label in other.child_axes[0].get_yticklabels()]
    assert left == [f"{plain(one)} better ←" for one, _ in order]
    assert right == [f"→ {plain(two)} better" for _, two in order]


def test_an_arms_applications_and_prompts_stand_side_by_side(drawn, verdicts):
    panels = [axes.get_title("left") for axes in drawn["arms"].axes]
    assert panels == ["Guardrail applications\nkept", "All guardrails kept", "Natural", "Nothing invented"]
    kept = tables.arms(stats.frame(verdicts)).query("measure == 'adherence'")
    names = [label.get_text().removesuffix(" ⚠") for label in drawn["arms"].axes[0].get_yticklabels()]
    shown = dict(zip(names, (x for x, _ in points(drawn["arms"].axes[1])), strict=True))
    assert shown == pytest.approx({plain(arm): x for arm, x in zip(kept["arm"], kept["value"], strict=True)})
    once = [v for v in verdicts if "N_1SFT_kto" in (v.arm_1, v.arm_2)]
    by_hand = np.mean([v.dimensions["adherence"].acceptable_2 for v in once])
    assert kept.set_index("arm").loc["N_1SFT_kto", "value"] == pytest.approx(by_hand)


def test_a_trends_numbers_stand_in_order_and_its_words_as_they_come(drawn):
    numbers, words_ = drawn["trend"].axes
    assert [tick.get_text() for tick in numbers.get_xticklabels()] == ["17", "70", "280"]
    assert [tick.get_text() for tick in words_.get_xticklabels()] == ["its start", "random"]
    marks = [each for each in numbers.collections if isinstance(each, matplotlib.collections.PathCollection)]
    by_place = sorted((round(float(x)), round(float(y), 2)) for each in marks for x, y in each.get_offsets())
    assert by_place == [(0, 0.3), (0, 0.5), (1, 0.4), (1, 0.6), (2, 0.5), (2, 0.7)]
    joined = [len([line for line in axes.get_lines() if len(line.get_xdata()) > 1]) for axes in (numbers, words_)]
    assert joined == [2, 0]


def test_captions_say_what_numbers_rest_on(drawn):
    caption = drawn["one"].get_supxlabel().replace("\n", " ")
    for part in ("75 judged prompts of 25", "1 seed", "embedded", "95 %", "these trained models"):
        assert part in caption
    assert "test" in drawn["figure4"].get_label()


def test_a_grids_chosen_cells_are_framed(drawn):
    frames = [
        (patch.get_x(), patch.get_y())
        for axes in drawn["grid"].axes
        for patch in axes.patches
        if isinstance(patch, matplotlib.patches.Rectangle)
    ]
    assert frames == [(0, 1), (1, 0), (0, 0)]  # columns are rates, rows β


def test_an_interval_is_in_points_with_its_sign():
    assert words.interval(0.654, 0.61, 0.7).replace(words.HOLD, " ") == "65 [61, 70]"
    assert words.interval(-0.0002, -0.1, 0.1, 1, signed=True).replace(words.HOLD, " ") == "0.0 [−10.0, +10.0]"
    assert words.interval(0.5, float("nan"), float("nan")) == "50"


def test_saving_writes_three_whole_files_with_the_same_bytes_each_time(rates, tmp_path):
    contents = []
    for folder in ("first", "second"):
        figures.save(figures.comparison_bars(rates, PAIRS[2:3]), rates, tmp_path / folder / "figure.v1")
        contents.append({path.name: path.read_bytes() for path in (tmp_path / folder).iterdir()})
    assert contents[0] == contents[1] and contents[0].keys() == {f"figure.v1.{kind}" for kind in ("png", "svg", "csv")}
    assert contents[0]["figure.v1.png"].startswith(b"\x89PNG") and b"</svg>" in contents[0]["figure.v1.svg"]
    back = pd.read_csv(tmp_path / "first" / "figure.v1.csv")
    assert back["win_1"].to_numpy() == pytest.approx(rates["win_1"].to_numpy())


def test_drawing_leaves_the_readers_own_settings_alone(rates):
    before = dict(matplotlib.rcParams)
    figures.contrasts(tables.differences(rates), ["adherence"])
    assert dict(matplotlib.rcParams) == before


def lightness(colour):
    """CIE L* of an sRGB colour."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    y = float(np.dot(linear, [0.2126, 0.7152, 0.0722]))
    return 116 * y ** (1 / 3) - 16 if y > 0.008856 else 903.3 * y


def test_the_four_bins_can_be_distinguished_in_grey():
    levels = sorted(lightness(colour) for colour in style.BINS.values())
    assert min(np.diff(levels)) > 8


def test_notation_is_the_papers():
    assert papers.mathtext("M_1SFT_ipo") == r"$M_{\mathrm{1SFT}}^{\mathrm{ipo}}$"
    assert papers.mathtext("M_kto") == r"$M^{\mathrm{kto}}$" and papers.mathtext("N_1SFT") == r"$N_{\mathrm{1SFT}}$"
    assert papers.mathtext("base") == "base" and papers.notation("my_model$") == ("my_model$", "", "")


def test_a_single_step_is_a_point_and_measures_without_values_get_no_panel():
    curves = figures.training_curves({"M_1SFT": pd.DataFrame({"step": [1], "loss": [1.0]})}, PLAN)
    (axes,) = curves.axes
    assert axes.lines[0].get_marker() == "o" and list(axes.lines[0].get_ydata()) == [1.0]


def test_training_has_a_row_per_method_and_no_axes_without_a_line():
    steps = pd.DataFrame({"step": [1, 2], "loss": [1.0, 0.5]})
    metrics = {"M_1SFT": steps, "M_2SFT": steps, "M_ipo": steps.assign(margin=0.1), "dpo": steps.assign(margin=0.2)}
    shown = [axes for axes in figures.training_curves(metrics, PLAN).axes if axes.get_visible()]
    assert [len(axes.lines) for axes in shown] == [2, 1, 1, 1, 1]


def crowd(count):
    arms = [f"M_1SFT_{method}" for method in ("dpo", "ipo", "kto", "slic", "hinge", "rpo", "orpo", "cpo", "ppo", "sft")]
    return list(itertools.combinations(arms, 2))[:count]


@pytest.mark.parametrize("draw", [
    lambda rates, rows: figures.contrasts(tables.differences(rates), ["naturalness", "hallucination"]),
    lambda rates, rows: figures.arms(tables.arms(rows)),
    lambda rates, rows: figures.ranking(stats.rank(rows), rates),
    lambda rates, rows: figures.comparison_bars(rates, crowd(6)),
])  # fmt: skip
def test_many_arms_still_fit(crowded, draw):
    figure = draw(*crowded)
    test_no_text_is_cut_and_no_two_overlap({"crowd": figure}, "crowd")


@pytest.fixture(scope="module")
def crowded():
    by_pair = [
        simulated.verdicts(one, two, 0.02 * index - 0.2, conversations=8, turns=2, seed=index)
        for index, (one, two) in enumerate(crowd(14))
    ]
    rows = stats.frame(itertools.chain.from_iterable(by_pair))
    return stats.table(rows), rows


def test_an_arm_looks_the_same_everywhere_and_arms_of_one_figure_differ_in_grey():
    arms = ["base", "M_1SFT", "M_2SFT", "M_ipo", "M_kto", "M_1SFT_ipo", "M_1SFT_kto", "N_1SFT", "N_1SFT_ipo", "dpo"]
    assert looks(arms) == {arm: look(arm) for arm in arms}
    assert len({look(arm).colour for arm in ("M_1SFT_ipo", "ipo_sum", "N_1SFT_ipo", "N_ipo")}) == 1
    assert len(set(looks(arms).values())) == len(arms)
    crowded = looks([f"mine-{number}" for number in range(60)])
    assert len({(each.colour, each.marker) for each in crowded.values()}) == 60
    assert plain("M_1SFT_ipo") == "SFT then IPO" and plain("my_arm") == "my_arm"


def test_loss_curves_have_their_minimum_where_the_method_has_it():
    """IPO at Δ = 1/(2β), on means over 10 tokens at 10 times that; the hinge is flat from 1/β on; DPO has none."""
    chosen = {name: METHODS[name] for name in ("ipo_sum", "ipo_mean", "hinge", "dpo", "ppo_offline", "sft")}
    figure = figures.loss_curves(chosen, beta=0.5, reach=20)
    dots = {axis.get_title(loc="left"): [float(line.get_xdata()[0]) for line in axis.lines[2:]] for axis in figure.axes}
    assert dots["IPO (sum)"] == pytest.approx([1.0]) and dots["IPO (mean)"] == pytest.approx([10.0])
    assert dots["hinge (RSO)"] == pytest.approx([2.0], abs=0.15) and dots["DPO"] == dots["SFT"] == []
    dpo = figure.axes[3].lines[0]
    assert float(dpo.get_ydata()[200]) == pytest.approx(np.log(2))
