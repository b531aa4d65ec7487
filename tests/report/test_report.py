"""The report: right numbers in it, safe with hostile text, complete without network, usable in a browser."""

from __future__ import annotations

import base64
import json
import re
import zlib
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

import simulated_verdicts as simulated
from browser import ENTER, SPACE, TAB, choose, chromium, errors, wait
from guardalign import report, stats
from guardalign.data.conversations import Reply
from guardalign.errors import InputError, MissingStage
from guardalign.files import read_rows, write_rows, write_text
from guardalign.judging.verdicts import DIMENSIONS, Verdict
from guardalign.report import judge, page, people, readable, words
from guardalign.report.compare import rates_by_run
from guardalign.report.drawing import training_cost
from guardalign.report.examples import payload
from guardalign.report.figures import style
from guardalign.workflow.cli import main

HOSTILE = (
    "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    "<a href=\"javascript:document.title='owned'\">x</a><!-- ${document.title='owned'} {{ 7*7 }} ]]> \u2028 &amp;"
)
ROOT = Path(__file__).resolve().parents[2]
COMPARISONS = {("M_1SFT", "M_1SFT_ipo"): 0.25, ("M_2SFT", "M_1SFT_ipo"): -0.1, ("chosen", "rejected"): -0.5}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = simulated.run_folder(tmp_path_factory.mktemp("runs") / "mine", COMPARISONS, conversations=16)
    path = root / "replies" / "M_1SFT_ipo.jsonl"
    rows = read_rows(path, Reply)
    rows[0] = rows[0].model_copy(update={"text": f"Thank you {HOSTILE}"})
    write_rows(path, rows)
    for index, arm in enumerate(("M_1SFT", "dpo", "rpo")):
        rows = simulated.verdicts(arm, "chosen", 0.2, conversations=8, turns=2, seed=index)
        write_rows(root / "verdicts" / "preferred" / f"{arm}-vs-chosen.jsonl", rows)
    (root / "run.json").write_text(json.dumps({
        "versions": {"python": "3.11"},
        "06_judging": {"parameters": {"run": "mine", "source": {"kind": "world"}, "report": {"level": 0.95}}},
    }))  # fmt: skip
    report.write(root)
    return root


@pytest.fixture(scope="module")
def text(run):
    return (run / "report.html").read_text()


class Elements(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def elements(text):
    parser = Elements()
    parser.feed(text)
    return parser.found


def block(text):
    packed = re.search(r'<script type="text/plain" id="data">([^<]*)</script>', text)[1]
    return json.loads(zlib.decompress(base64.b64decode(packed)))


def test_the_first_screen_answers_every_contrast_named_beforehand(run, text):
    results = report.load(run)
    row = results.differences.query("arm_1 == 'M_1SFT' and arm_2 == 'M_1SFT_ipo' and measure == 'adherence'").iloc[0]
    assert row["difference"] == pytest.approx(-100 * results.rates.query("arm_1 == 'M_1SFT'")["net"].iloc[0])
    first, second = page.answers(results.differences)
    assert first == words.sentence(row) and first in text and second in text
    assert text.index(str(first)) < text.index('id="figure-contrasts"') < text.index('id="glossary"')
    assert f"{row['difference']:.1f} points more of the prompts" in first and "1 seed × 16 conversations" in first
    assert "SFT, 2 epochs" in second and "points fewer" in second
    for name in ("contrasts", "arms", "win_rates", "table1"):
        assert (run / "tables" / f"{name}.csv").exists()


def test_a_sentence_follows_the_direction_of_its_interval_and_claims_no_more():
    row = {"arm_1": "M_1SFT", "arm_2": "M_kto", "measure": "adherence", "difference": -5.0, "low": -9.0, "high": -1.0,
           "p": 0.021, "seeds": 3, "conversations": 48}  # fmt: skip
    sentence = words.sentence(row).striptags().replace("\u00a0", " ")
    assert sentence == (
        "KTO without SFT keeps all guardrails on 5.0 points fewer of the prompts than SFT [1.0, 9.0], "
        "3 seeds × 48 conversations, p = 0.021 (Holm)."
    )
    for doubt in ({"high": 1.0}, {"p": 0.06}):
        assert "No difference detected" in words.sentence(row | doubt)


def test_tables_are_written_for_people(run):
    results = report.load(run)
    contrasts = page.contrasts(results.differences, results.exchanged).set_index(["second arm", "against"])
    moved = results.exchanged.set_index(["arm_1", "arm_2"]).loc[("M_1SFT", "M_1SFT_ipo")]
    row = contrasts.loc[("SFT then IPO", "SFT")]
    assert row["applications gained"] == f"{moved['gained']:.0f}" and row["prompts"] == "48 × 1 seed"
    shown = readable.readable(pd.DataFrame({
        "arm": ["M_1SFT"], "accuracy": [0.5], "accuracy_low": [0.4], "accuracy_high": [0.6],
        "unique_tokens": [166100.0], "n": [744], "seeds": [3], "learning_rate": [5e-5], "nothing": [float("nan")],
    }))  # fmt: skip
    assert shown.to_dict("records") == [{
        "arm": "SFT", "chosen reply more likely, %": "50\u00a0[40,\u00a060]", "tokens computed": "166,100",
        "prompts × seeds": "248 × 3", "learning rate": "5e−5",
    }]  # fmt: skip


def test_a_collapsed_arm_has_a_banner_and_a_mark_and_what_an_earlier_report_left_goes(tmp_path):
    root = simulated.run_folder(tmp_path / "bad", {("M_1SFT", "M_1SFT_ipo"): 0.2}, conversations=8)
    path = root / "replies" / "M_1SFT_ipo.jsonl"
    replies = [each.model_copy(update={"text": "Hi. Let me find out,,,,,,,,"}) for each in read_rows(path, Reply)]
    write_rows(path, replies)
    for name in ("training", "methods"):  # of an earlier report, and of another stage
        write_text(root / "figures" / f"{name}.svg", '<svg viewBox="0 0 9 9"/>')
    for name in ("table3", "flow1"):  # likewise
        write_text(root / "tables" / f"{name}.csv", "a\n1\n")
    results = report.load(root)
    assert list(results.collapsed) == ["M_1SFT_ipo"] and "repeat" in results.collapsed["M_1SFT_ipo"]
    kept = page.kept(results.kept, results.collapsed).set_index("arm")
    assert kept.loc["SFT then IPO", "warning"] and not kept.loc["SFT", "warning"]
    assert any(attributes.get("id") == "collapsed" for _, attributes in elements(report.write(root).read_text()))
    for name in ("contrasts", "figure4"):
        assert "⚠" in (root / "figures" / f"{name}.svg").read_text()
    assert (root / "figures" / "methods.svg").exists() and not (root / "figures" / "training.svg").exists()
    assert (root / "tables" / "flow1.csv").exists() and not (root / "tables" / "table3.csv").exists()


def test_the_papers_numbers_stand_in_columns_of_their_own(run, text):
    table = page._table_1(report.load(run).rates)
    printed = table[[name for name in table if name.startswith("paper")]]
    assert printed.iloc[0].tolist() == ["70.4", "47.7", "95.8"] and printed.shape == (6, 3)
    assert (table.drop(columns=printed.columns) == "not judged").sum(axis=None) == 6
    assert text.count('<td class="paper">') == 18 + 3 * 8


def test_methods_against_the_preferred_reply_stand_beside_paper_b_and_nowhere_else(run):
    results = report.load(run)
    assert "dpo" not in set(results.rates["arm_1"]) and judge.elsewhere(results) == []
    table = pd.read_csv(run / "tables" / "table3.csv").set_index("method")
    assert list(table.index) == ["SFT", "PPO", "DPO", "SLiC", "IPO", "KTO (logistic)", "KTO (tanh)", "rpo"]
    known = results.preferred_rates.set_index(["arm_1", "dimension"]).loc[("dpo", "adherence")]
    assert table.loc["DPO", "here"] == pytest.approx(100 * known["strict"])
    assert table.loc["DPO", ["paper hh", "paper tldr", "paper alpaca_eval"]].tolist() == [71.4, 53.8, 31.0]
    assert table.loc["IPO", "paper hh"] == 65.8 and pd.isna(table.loc["IPO", "here"])


def test_the_judges_own_accuracy_comes_from_the_gold_pairs(run):
    results = report.load(run)
    assert "chosen" not in set(results.rates["arm_1"])
    assert len(stats.gold_accuracy(results.rows)) == 3


def test_nothing_is_fetched_and_only_the_pages_script_may_run(text):
    for tag, attributes in elements(text):
        assert tag not in ("link", "iframe", "object", "embed", "base")
        assert not any(name.startswith("on") for name in attributes)
        assert not (tag in ("script", "img", "image") and "src" in attributes)
        for name in ("href", "xlink:href"):
            target = attributes.get(name, "#")
            assert target.startswith(("#", "figures/", "notebooks/", "data:image/png"))
    policy = next(a["content"] for t, a in elements(text) if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy and "script-src 'sha256-" in policy
    assert "unsafe-inline" not in policy.split("script-src")[1]


def test_links_lead_only_to_files_next_to_the_page(run, tmp_path):
    (run / "figures" / "arms.csv").unlink()
    elsewhere = report.write(run, tmp_path / "sent" / "report.html")
    report.publish(report.read(run), [path.stem for path in (run / "figures").glob("*.svg")])
    for written in (elsewhere, run / "report.html"):
        targets = [
            a["href"] for tag, a in elements(written.read_text()) if tag == "a" and not a["href"].startswith("#")
        ]
        assert len(targets) > 20
        assert [target for target in targets if not (written.parent / target).exists()] == []


@pytest.mark.parametrize("run", ["reference", "care"])
def test_links_of_the_committed_reports_lead_somewhere(run):
    path = ROOT / "outputs" / run / "report.html"
    targets = [a["href"] for tag, a in elements(path.read_text()) if tag == "a" and not a["href"].startswith("#")]
    assert [target for target in targets if not (path.parent / target).exists()] == []


def test_every_id_is_unique_and_every_reference_leads_somewhere(text):
    ids = [attributes["id"] for _, attributes in elements(text) if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {a[n][1:] for _, a in elements(text) for n in ("href", "xlink:href") if a.get(n, "").startswith("#")}
    assert targets <= set(ids)


def test_figures_can_be_heard_and_tables_have_headers(text):
    images = [attributes for tag, attributes in elements(text) if tag == "svg"]
    assert len(images) >= 5
    assert all(attributes["role"] == "img" and len(attributes["aria-label"]) > 40 for attributes in images)
    assert text.count("<caption>") == text.count("<table>")
    assert '<html lang="en">' in text


def test_examples_hold_every_text_once(run, text):
    data = block(text)
    assert len(data["examples"]) == data["total"] == 3 * 16 * 3
    comparison, prompt, _, bins, *_ = data["examples"][0]
    assert data["comparisons"][comparison] == ["M_1SFT", "M_1SFT_ipo"]
    verdict = next(
        v for v in read_rows(run / "verdicts" / "M_1SFT-vs-M_1SFT_ipo.jsonl", Verdict)
        if v.pair_id == data["prompts"][prompt][0]
    )  # fmt: skip
    assert [data["bins"][index] for index in bins] == [v.bin for v in verdict.dimensions.values()]
    assert len(data["texts"]) == len(set(data["texts"]))
    assert any(HOSTILE in each for each in data["texts"])
    thinned = payload(report.load(run), most=10)
    assert len(thinned["examples"]) == 10 and len({example[0] for example in thinned["examples"]}) == 3


def test_the_same_run_gives_the_same_page(run, text):
    names = [path.stem for path in sorted((run / "figures").glob("*.svg"))]
    assert page.render(report.load(run), names, run) == text


def test_seeds_in_folders_are_one_run(tmp_path):
    for seed in (1, 2):
        simulated.run_folder(tmp_path / "many" / f"seed-{seed}", {("M_1SFT", "M_1SFT_ipo"): 0.1 * seed}, 6, 2)
        path = tmp_path / "many" / f"seed-{seed}" / "models" / "M_1SFT_ipo" / "training.json"
        verdicts = simulated.verdicts("M_1SFT", "M_1SFT_ipo", 0.1 * seed, 6, 2, seed=seed)
        write_rows(
            tmp_path / "many" / f"seed-{seed}" / "verdicts" / "transfer" / "M_1SFT-vs-M_1SFT_ipo.jsonl", verdicts
        )
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"result": {"steps": 7, "seconds": 10.0 * seed}}))
    results = report.load(tmp_path / "many")
    assert set(results.rates["seeds"]) == {2} and sorted(results.verdicts) == [1, 2]
    (cost,) = training_cost(results).to_dict("records")
    assert (cost["arm"], cost["steps"], cost["seconds"]) == ("M_1SFT_ipo", 7, 15)
    path.write_text('{"result": {"st')
    with pytest.raises(InputError, match=r"training\.json is damaged: train M_1SFT_ipo again"):
        training_cost(results)
    assert set(results.compliance["seeds"]) == {2} and set(results.compliance["applied"]) == {2 * 12}
    ((_, elsewhere),) = judge.elsewhere(results)
    assert len(elsewhere) == len(DIMENSIONS) and set(elsewhere["n"]) == {24} and set(elsewhere["seeds"]) == {2}


def test_a_run_without_verdicts_on_two_arms_names_the_notebook(tmp_path, capsys):
    gold = simulated.run_folder(tmp_path / "gold", {("chosen", "rejected"): -0.3}, 6, 2)
    failed = simulated.run_folder(tmp_path / "failed", {("M_1SFT", "M_1SFT_ipo"): 0.1}, 6, 2)
    invalid = simulated.verdicts(conversations=6, turns=2, invalid=1.0)
    write_rows(failed / "verdicts" / "M_1SFT-vs-M_1SFT_ipo.jsonl", invalid)
    for root in (tmp_path, gold, failed):
        with pytest.raises(MissingStage, match="06_judging"):
            report.write(root)
    assert main(["report", str(tmp_path)]) == 1
    assert "06_judging" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["report", "a", "b"])


def test_runs_side_by_side(run, tmp_path):
    other = simulated.run_folder(tmp_path / "other", {("M_1SFT", "M_1SFT_ipo"): -0.3}, conversations=10)
    (other / "run.json").write_text(json.dumps({"02_sft": {"parameters": {"source": {"kind": "<b>"}}}}))
    page = tmp_path / "compare.html"
    assert main(["report", "--compare", str(run), str(other), "--output", str(page)]) == 0
    text = page.read_text()
    results = [report.load(root) for root in (run, other)]
    table = rates_by_run(results, ["mine", "other"])
    assert (table == "not in this run").sum(axis=None) == 3 * 4
    for each in results:
        win = table.loc[0, f"win rate of 1, % · {each.name}"]
        assert win.startswith(f"{100 * each.rates.iloc[0]['win_1']:.0f}\u00a0[") and f"<td>{win}</td>" in text
    assert "source.kind" in text and "&lt;b&gt;" in text and "<b><" not in text


def test_peoples_verdicts_join_the_judges(run, tmp_path):
    root = simulated.run_folder(tmp_path / "people", {("M_1SFT", "M_1SFT_ipo"): 0.2}, 8, 2)
    verdicts = [v.model_copy(update={"judge": "person Ann"}) for v in simulated.verdicts(conversations=4, turns=2)]
    write_rows(root / "people" / "ann.jsonl", verdicts)
    text = report.write(root).read_text()
    assert "person Ann" in text and "Krippendorff" in text
    assert people.QUESTIONS.keys() == set(verdicts[0].dimensions)


def test_peoples_verdicts_are_on_the_first_seeds_replies(tmp_path):
    for seed in (1, 2):
        simulated.run_folder(tmp_path / f"seed-{seed}", {("M_1SFT", "M_1SFT_ipo"): 0.1}, 6, 2)
    verdicts = [v.model_copy(update={"judge": "person Ann"}) for v in simulated.verdicts(conversations=4, turns=2)]
    write_rows(tmp_path / "people" / "verdicts.jsonl", verdicts)
    rows = report.load(tmp_path).rows
    assert set(rows.loc[rows["judge"] == "person Ann", "seed"]) == {1}


def test_verdicts_on_arms_that_are_no_longer_compared_are_left_out(tmp_path):
    """They may be of replies of an earlier training, and would be averaged into what an arm keeps."""
    pairs = [("M_1SFT", "M_1SFT_ipo"), ("M_1SFT", "M_ipo"), ("chosen", "rejected"), ("M_1SFT_ipo", "server")]
    root = simulated.run_folder(tmp_path, dict.fromkeys(pairs, 0.2), 6, 2)
    write_rows(root / "verdicts" / "transfer" / "M_1SFT-vs-M_ipo.jsonl", simulated.verdicts("M_1SFT", "M_ipo"))
    write_rows(root / "verdicts" / "feedback" / "M_1SFT-vs-chosen.jsonl", simulated.verdicts("M_1SFT", "chosen"))
    study = {
        "arms": {name: {"method": "sft", "learning_rate": 1e-4} for name in ("M_1SFT", "M_1SFT_ipo")},
        "contrasts": [{"arm_1": "M_1SFT", "arm_2": "M_1SFT_ipo"}],
    }
    parameters = {"study": study, "generation": {"replies": {"server": {}}}}
    (root / "run.json").write_text(json.dumps({"06_judging": {"parameters": parameters}}))
    results = report.load(root)
    assert results.comparisons == [pairs[0], pairs[3]]
    assert [caption for caption, _ in judge.elsewhere(results)] == ["Prompts of the part “feedback”"]
    assert len(stats.gold_accuracy(results.rows)) == 3


def test_a_stage_reads_its_own_plan_where_several_share_a_folder(tmp_path):
    pairs = [("M_1SFT", "M_1SFT_ipo"), ("M_1SFT", "M_kto"), ("M_1SFT_ipo", "M_kto")]
    root = simulated.run_folder(tmp_path, dict.fromkeys(pairs, 0.2), 6, 2)
    arms = {name: {"method": "sft", "learning_rate": 1e-4} for name in ("M_1SFT", "M_1SFT_ipo", "M_kto")}
    stages = {"06_judging": pairs[:2], "13_side_effects": pairs[2:]}
    facts = {
        stage: {"parameters": {"study": {
            "arms": arms, "contrasts": [{"arm_1": one, "arm_2": two, "named": True} for one, two in own],
        }}}
        for stage, own in stages.items()
    }  # fmt: skip
    (root / "run.json").write_text(json.dumps(facts))
    for stage, own in stages.items():
        results = report.load(root, stage=stage)
        assert results.comparisons == own and list(results.named) == own


def test_a_run_names_its_own_level(tmp_path):
    contrasts = {("M_1SFT", "M_1SFT_ipo"): 0.2, ("M_1SFT", "M_ipo"): 0.1}
    root = simulated.run_folder(tmp_path / "run", contrasts, conversations=8)
    facts = {"06_judging": {"parameters": {"report": {"level": 0.9}}}}
    write_text(root / "run.json", json.dumps(facts))
    page = report.write(root).read_text()
    assert "90 % intervals" in page and "95 % intervals" not in page
    row = {"arm_1": "a", "arm_2": "b", "measure": "adherence", "difference": 5.0, "low": 1.0, "high": 9.0, "p": 0.03,
           "seeds": 3, "conversations": 48}  # fmt: skip
    assert [("No difference" in words.sentence(row, level)) for level in (0.9, 0.99)] == [False, True]


@pytest.fixture(scope="module")
def browser():
    with chromium() as driver:
        yield driver


@pytest.fixture
def opened(browser, run):
    browser.get((run / "report.html").as_uri())
    wait(browser, lambda b: b.find_element("tag name", "html").get_attribute("data-ready") == "yes")
    return browser


def count(opened):
    return int(opened.find_element("id", "count").text.split()[0])


def cards(opened):
    return opened.find_elements("css selector", "#list > li")


def test_the_page_loads_clean_and_a_hostile_reply_does_nothing(opened):
    assert count(opened) == 144 and len(cards(opened)) == 10
    opened.find_element("id", "f-search").send_keys("onerror")
    assert count(opened) == 2
    shown = cards(opened)[0].text
    assert "<img src=x onerror=" in shown and "</script><script>" in shown
    assert opened.find_elements("css selector", "#list img, #list script, #list a") == []
    assert "owned" not in opened.title
    assert errors(opened) == []


def test_filters_and_search_find_what_the_verdicts_say(opened, run):
    verdicts = read_rows(run / "verdicts" / "M_2SFT-vs-M_1SFT_ipo.jsonl", Verdict)
    choose(opened, "f-comparison", "SFT, 2 epochs against SFT then IPO")
    assert count(opened) == 48
    choose(opened, "f-dimension", "naturalness")
    choose(opened, "f-bin", "2 better")
    expected = {v.pair_id for v in verdicts if v.order == "12" and v.dimensions["naturalness"].bin == "2 better"}
    assert count(opened) == len(expected) > 0
    assert all("naturalness: 2 better" in card.text for card in cards(opened))
    opened.find_element("css selector", "#filters button[type=reset]").click()
    wait(opened, lambda _: count(opened) == 144)
    choose(opened, "f-kind", "Thank the customer.")
    assert all("guardrail 1: broken" in card.text for card in cards(opened))
    opened.find_element("id", "f-search").send_keys("bank c0002-1")
    assert all("c0002-1" in card.text for card in cards(opened))


def test_quotes_are_marked_and_pages_turn_by_keyboard(opened):
    opened.find_element("tag name", "body").send_keys(TAB)
    assert opened.switch_to.active_element.text == "Skip to the results"
    assert opened.find_element("css selector", "#list mark").text == "Thank you"
    first = cards(opened)[0].text
    opened.find_element("id", "next").send_keys(ENTER)
    assert opened.find_element("id", "page").text == "page 2 of 15" and cards(opened)[0].text != first
    opened.find_element("id", "previous").send_keys(SPACE)
    assert cards(opened)[0].text == first


@pytest.mark.parametrize("width", [390, 1400])
def test_the_page_never_scrolls_sideways(run, width):
    with chromium(dark=width < 600) as driver:
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600},
        )
        driver.get((run / "report.html").as_uri())
        wait(driver, lambda b: b.find_elements("css selector", "#list > li"))
        assert driver.execute_script("return document.documentElement.scrollWidth") <= width
        scales = driver.execute_script(
            "return [...document.querySelectorAll('figure svg')].map(s => s.clientWidth / s.viewBox.baseVal.width)"
        )
        assert min(scales) * style.SMALL > 8.9  # pixels of the smallest text
        colour = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert colour == ("rgb(20, 23, 26)" if width < 600 else "rgb(254, 254, 254)")
        ink = driver.execute_script(
            "return getComputedStyle(document.querySelector('figure svg text, figure svg g[style*=ink]')).fill"
        )
        assert ink in ("rgb(232, 234, 237)", "rgb(22, 25, 29)")
        assert errors(driver) == []
