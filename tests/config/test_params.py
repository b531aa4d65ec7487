"""Parameters: what is unknown, misspelt, ill-typed, missing or out of range is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from guardalign.config import params
from guardalign.config.params import Params
from guardalign.errors import ParameterError

ROOT = Path(__file__).resolve().parents[2]
PLAIN = "M_1SFT: {method: sft, learning_rate: 2e-6"
EMBEDDED = ROOT / "params" / "embedded.yaml"


@pytest.fixture
def changed(tmp_path):
    """A copy of the embedded profile with one value set: ``changed("study.arms.M_1SFT.learning_rate", "2e-6")``."""

    def change(key, value):
        content = yaml.safe_load(EMBEDDED.read_text())
        *path, last = key.split(".")
        section = content
        for part in path:
            section = section[part]
        section[last] = value
        target = tmp_path / "own.yaml"
        target.write_text(yaml.safe_dump(content))
        return target

    return change


@pytest.mark.parametrize("profile", sorted((ROOT / "params").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_profile_is_valid(profile):
    assert Params.load(profile).run


def test_without_contrasts_every_arm_is_compared_with_its_start(changed):
    arms = {"a": {"method": "sft", "learning_rate": 1e-4}, "b": {"start": "a", "method": "dpo", "learning_rate": 1e-5}}
    given = Params.load(changed("study", {"arms": arms})).contrasts()
    assert [(each.arm_1, each.arm_2) for each in given] == [("base", "a"), ("a", "b")]


def test_a_rate_written_as_yaml_reads_it_is_a_number(tmp_path):
    target = tmp_path / "own.yaml"
    target.write_text(EMBEDDED.read_text().replace("M_1SFT: {method: sft, learning_rate: 3e-4", PLAIN))
    assert yaml.safe_load(target.read_text())["study"]["arms"]["M_1SFT"]["learning_rate"] == "2e-6"
    assert Params.load(target).study.arms["M_1SFT"].learning_rate == 0.000002


@pytest.mark.parametrize(
    "key, value, message",
    [
        ("study.arms.M_ipo.learning_rte", 1e-4, "did you mean `study.arms.M_ipo.learning_rate`?"),
        ("soruce", {}, "unknown parameter `soruce`; did you mean `source`?"),
        ("study.arms.dpo.learning_rate", 3, "`study.arms.dpo.learning_rate` should be less than 1 (it is 3)"),
        ("study.arms.dpo.learning_rate", 0, "`study.arms.dpo.learning_rate` should be greater than 0"),
        ("study.arms.dpo.learning_rate", "fast", "`study.arms.dpo.learning_rate` should be a valid number"),
        ("study.arms.dpo.epochs", 1.5, "`study.arms.dpo.epochs` should be a valid integer"),
        ("study.contrasts", [{"arm_1": "M_1SFT", "arm_2": "M_3SFT"}], "'M_3SFT'"),
        ("generation.replies", {"../bot": {"model": "m"}}, "`generation.replies.../bot`"),
        ("training.batch_size", 0, "`training.batch_size` should be greater than or equal to 1"),
        ("seed", -1, "`seed` should be greater than or equal to 0"),
        ("study.arms.M_ipo.method", "ipo", "`study.arms.M_ipo.method` should be 'sft', 'dpo'"),
        ("run", "../elsewhere", "`run`"),
        ("judge.api_key", "sk-123", "unknown parameter `judge.api_key`; did you mean `judge.api_key_env`?"),
        ("judge.base_url", "https://me:secret@host/v1", "base_url` is a plain address"),
        ("source.kind", "jsonl", "kind: jsonl needs a path"),
        ("source", {"kind": "jsonl", "path": "a.jsonl"}, "the embedded judge reads only"),
        ("generation.replies", {"chosen": {"model": "m"}}, "generation.replies: an arm cannot be called 'chosen'"),
        ("model.precision", "nf4", "precision nf4 trains adapters only"),
        ("source.shares", {"train": 0.9, "feedback": 0.2}, "must stay below 1"),
        ("source.shares", {"train": 0.5, "feedback": 0.2, "validation": 0.3}, "must stay below 1"),
        ("seed", True, "`seed` should not be true or false"),
        ("study.tuning.arms.M_ipo.betas", [0.1, True], "should not be true or false"),
        ("generation.temperature", float("inf"), "`generation.temperature` should be a finite number"),
        ("study.arms.M_ipo.options", {"kl_gradient": False}, "ipo_mean has no option 'kl_gradient'; it has none"),
        ("study.arms.M_kto.options", {"kl_gradint": False}, "kto_pair has no option 'kl_gradint'; it has kl_gradient"),
        ("study.arms.slic.options", {"slic_delta": "wide"}, "option slic_delta"),
        ("study.arms.slic.options", {"slic_delta": True}, "option slic_delta should not be true or false"),
    ],
)
def test_a_bad_parameter_is_refused_by_name(changed, key, value, message):
    path = changed(key, value)
    with pytest.raises(ParameterError) as refusal:
        Params.load(path)
    assert message in str(refusal.value) and str(refusal.value).startswith(str(path))
    assert "secret" not in str(refusal.value)


def test_acceptable_replies_need_a_judge(changed):
    path = changed("study.arms.N_1SFT_ipo.pairs.replies", "acceptable")
    assert Params.load(path)
    path.write_text(path.read_text().replace("kind: embedded", "kind: none"))
    with pytest.raises(ParameterError, match=r"N_1SFT_\w+: .* with judge\.kind none"):
        Params.load(path)


def test_a_panel_with_the_embedded_judge_reads_the_embedded_world_alone(changed):
    panel = {"kind": "panel", "judges": [{"kind": "embedded"}, {"kind": "rules"}]}
    content = yaml.safe_load(changed("judge", panel).read_text())
    assert Params.checked(content)
    with pytest.raises(ParameterError, match="the embedded judge reads only"):
        Params.checked(content | {"source": {"kind": "care"}})


def test_a_missing_section_is_named(tmp_path):
    content = yaml.safe_load(EMBEDDED.read_text())
    del content["study"]
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ParameterError, match="`study` is missing"):
        Params.load(tmp_path / "own.yaml")


def test_files_that_are_no_parameters_are_named(tmp_path):
    with pytest.raises(ParameterError, match="No such file"):
        Params.load(tmp_path / "absent.yaml")
    (tmp_path / "broken.yaml").write_text("run: [")
    with pytest.raises(ParameterError, match="YAML"):
        Params.load(tmp_path / "broken.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(ParameterError, match="has no sections"):
        Params.load(tmp_path / "list.yaml")


@pytest.mark.parametrize(
    "content, reason",
    [
        ("run: x\nsource: &a [*a]", "source"),
        ("run: " + "[" * 100_000, "nested"),
        ("run: Grüße".encode("latin-1"), "YAML"),
        ("run: " + "1" * 5_000, "YAML"),
        ("? [a, b]\n: 1", "YAML"),
        ("run: a\nseed: 1\nrun: b", "'run' is given twice"),
        ("training: {batch_size: 8, batch_size: 9}", "'batch_size' is given twice"),
    ],
    ids=["circle", "deep", "latin-1", "digits", "list as key", "twice", "twice inside"],
)
def test_yaml_that_would_hang_or_lose_something_is_refused(tmp_path, content, reason):
    path = tmp_path / "own.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ParameterError, match=reason) as refusal:
        Params.load(path)
    assert str(refusal.value).startswith(str(path))


def test_aliases_stand_for_their_values():
    assert "pairs: *worse" in EMBEDDED.read_text()
    arms = Params.load(EMBEDDED).study.arms
    assert arms["N_1SFT_kto"].pairs == arms["N_1SFT_ipo"].pairs


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_changes_nothing(tmp_path, encoding):
    (tmp_path / "own.yaml").write_bytes(EMBEDDED.read_text().encode(encoding))
    assert Params.load(tmp_path / "own.yaml") == Params.load(EMBEDDED)


@pytest.mark.parametrize("name", ["../../../evil", "/tmp/evil", "", "a b", "a\0", "x" * 100, ".hidden"])
def test_a_name_that_becomes_a_files_stays_in_its_folder(changed, name):
    for key, value in (
        ("generation.replies", {name: {"model": "m"}}),
        ("launch.kind", name),
        ("run", name if name != "/tmp/evil" else "/tmp/" + "x" * 300),
    ):
        with pytest.raises(ParameterError, match="is not a valid name"):
            Params.load(changed(key, value))


def test_a_notebook_reads_the_sections_it_shows():
    shown = {"run": "x", "seed": 3, "training": {"batch_size": "4"}, "Path": Path, "_hidden": 1}
    settings = params.read(shown)
    assert settings.training.batch_size == 4
    assert settings.sections().keys() == {"run", "seed", "training"}
    with pytest.raises(ParameterError, match="not shown"):
        _ = settings.judge


TYPED, PAPERMILLS, READ = "run = 'x'\nseed = 3", "# Parameters\nseed = 4", "from guardalign import config\nread()"


def after(*cells, **values):
    """What a notebook's globals are once these cells, and the one that reads them, have run."""
    return params.read({"In": ["", *cells, READ], **values}).sections()


def test_a_notebooks_own_variables_are_no_parameters():
    own = {"trained": {"M": 1}, "report": {"level": 3}}
    assert after(TYPED, READ, "trained = {}; report = {}", TYPED, run="x", seed=3, **own) == {"run": "x", "seed": 3}
    assert after(TYPED, PAPERMILLS, run="x", seed=4, **own) == {"run": "x", "seed": 4}


def test_a_typo_in_either_cell_is_refused_and_one_put_right_is_not():
    with pytest.raises(ParameterError, match="unknown parameter `sed`"):
        after(TYPED, "# Parameters\nsed = 4", run="x", seed=3, sed=4)
    with pytest.raises(ParameterError, match="unknown parameter `sed`"):
        after("run = 'x'\nsed = 3", run="x", sed=3)
    assert after("run = 'x'\nsed = 3", READ, TYPED, run="x", sed=3, seed=3) == {"run": "x", "seed": 3}


def test_a_notebook_refuses_names_that_are_no_section():
    with pytest.raises(ParameterError, match="did you mean `training`"):
        params.read({"run": "x", "traning": {"batch_size": 4}})
    with pytest.raises(ParameterError, match="batch_size"):
        params.read({"run": "x", "training": {}})
