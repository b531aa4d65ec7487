"""Training that is cut off: ended by SIGTERM, out of disk, with damaged files, among other processes."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
import torch

from guardalign.config.sections import Lora
from guardalign.data.conversations import Reply
from guardalign.errors import GuardalignError, InputError
from guardalign.files import write_rows, write_text
from guardalign.generation.store import Store
from guardalign.processes import PREEMPTED
from guardalign.training import progress, train
from guardalign.training.__main__ import main
from guardalign.training.checkpoints import latest, save, saved
from tests.training.test_training import EXAMPLES, config, distance, metrics, quiet, signalled_at
from tiny import save_checkpoint


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("model") / "base")


@pytest.mark.parametrize("engine", ["tree", "trl"])
def test_sigterm_saves_after_the_step_and_the_next_run_resumes_to_the_same_weights(base, tmp_path, engine):
    settings = {"save_steps": 1000, "engine": engine, "batching": "pair"}
    cut = config(base, tmp_path / "cut", **settings)
    assert os.waitstatus_to_exitcode(signalled_at(3, signal.SIGTERM, cut)) == PREEMPTED
    [left] = [path.name for path in (tmp_path / "cut" / "checkpoints").glob("*[0-9]*")]
    result = train(cut, EXAMPLES, quiet)
    assert 3 <= result.resumed_step < result.steps
    assert str(result.resumed_step) in left
    train(config(base, tmp_path / "whole", **settings), EXAMPLES, quiet)
    assert distance(tmp_path / "whole", tmp_path / "cut") == 0
    assert [row["step"] for row in metrics(tmp_path / "cut")] == list(range(1, result.steps + 1))


def test_the_command_exits_with_its_own_code_after_sigterm(base, tmp_path):
    write_rows(tmp_path / "data.jsonl", EXAMPLES)
    settings = config(base, tmp_path / "arm", epochs=3000, data=tmp_path / "data.jsonl")
    write_text(tmp_path / "job.json", settings.model_dump_json())
    child = os.fork()
    if child == 0:
        os._exit(main([str(tmp_path / "job.json")]))
    until = time.monotonic() + 60
    while not (tmp_path / "arm" / "metrics.jsonl").exists():
        assert time.monotonic() < until
        time.sleep(0.05)
    os.kill(child, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == PREEMPTED
    state = latest(tmp_path / "arm" / "checkpoints", quiet)
    assert state is not None and state["step"] == metrics(tmp_path / "arm")[-1]["step"]


def test_sigterm_in_the_last_step_finishes_the_arm_first(base, tmp_path):
    settings = config(base, tmp_path / "arm", epochs=1)
    assert os.waitstatus_to_exitcode(signalled_at(4, signal.SIGTERM, settings)) == PREEMPTED
    assert train(settings, EXAMPLES, quiet).skipped


def test_seconds_and_warnings_from_before_an_interruption_are_in_the_result(base, tmp_path):
    settings = config(base, tmp_path / "cut")
    assert os.WIFSIGNALED(signalled_at(5, signal.SIGKILL, settings))
    [there] = saved(tmp_path / "cut" / "checkpoints")
    state = torch.load(there, weights_only=True)
    assert state["totals"]["seconds"] > 0
    torch.save(state | {"totals": state["totals"] | {"seconds": 900.0}, "warnings": ["step 2: odd"]}, there)
    result = train(settings, EXAMPLES, quiet)
    assert 900 < result.seconds < 1000 and result.warnings[0] == "step 2: odd"


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [truncate, flip])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(base, tmp_path, damage):
    settings = config(base, tmp_path / "cut", save_steps=2)
    assert os.WIFSIGNALED(signalled_at(7, signal.SIGKILL, settings))
    older, newer = saved(tmp_path / "cut" / "checkpoints")
    damage(newer)
    lines: list[str] = []
    result = train(settings, EXAMPLES, lines.append)
    assert (older.name, newer.name, result.resumed_step) == ("step-00000004.pt", "step-00000006.pt", 4)
    assert any(f"WARNING: {newer} is damaged" in line for line in lines)
    train(config(base, tmp_path / "whole", save_steps=2), EXAMPLES, quiet)
    assert distance(tmp_path / "whole", tmp_path / "cut") == 0


def test_with_every_checkpoint_damaged_training_starts_over(base, tmp_path):
    settings = config(base, tmp_path / "cut", save_steps=2)
    signalled_at(7, signal.SIGKILL, settings)
    for path in saved(tmp_path / "cut" / "checkpoints"):
        path.write_bytes(b"")
    lines: list[str] = []
    assert train(settings, EXAMPLES, lines.append).resumed_step == 0
    assert sum("is damaged" in line for line in lines) == 2


def test_a_checkpoint_of_another_configuration_names_the_differences(base, tmp_path):
    signalled_at(5, signal.SIGKILL, config(base, tmp_path / "cut"))
    lines: list[str] = []
    other = config(base, tmp_path / "cut", beta=0.3, lora=Lora(rank=4))
    assert train(other, EXAMPLES, lines.append).resumed_step == 0
    [line] = [line for line in lines if "another configuration" in line]
    assert "beta 0.1 in the checkpoint, 0.3 now" in line and "lora None in the checkpoint" in line
    train(other.model_copy(update={"output": tmp_path / "fresh"}), EXAMPLES, quiet)
    assert distance(tmp_path / "cut", tmp_path / "fresh") == 0
    signalled_at(5, signal.SIGKILL, config(base, tmp_path / "cut"))
    assert train(config(base, tmp_path / "cut"), EXAMPLES[:-1], lines.append).resumed_step == 0
    assert sum("is of other data or another model; starting over" in line for line in lines) == 1


def test_a_full_disk_ends_training_clearly_and_leaves_the_earlier_checkpoints(base, tmp_path, disk):
    trial = config(base, tmp_path / "trial", save_steps=1)
    signalled_at(5, signal.SIGKILL, trial)
    size = saved(tmp_path / "trial" / "checkpoints")[0].stat().st_size
    settings = config(base, disk(int(2.7 * size)) / "arm", save_steps=1, cache=tmp_path / "cache")
    with pytest.raises(GuardalignError, match="step-00000003"):
        train(settings, EXAMPLES, quiet)
    left = sorted(path.name for path in (settings.output / "checkpoints").iterdir())
    assert left == ["step-00000001.pt", "step-00000002.pt"]
    state = latest(settings.output / "checkpoints", quiet)
    assert state is not None and state["step"] == 2
    assert not (settings.output / "training.json").exists()


def test_a_full_disk_at_the_end_is_named_too(base, tmp_path, disk):
    size = sum(path.stat().st_size for path in base.iterdir())
    settings = config(base, disk(size // 2) / "arm", save_steps=1000, cache=tmp_path / "cache")
    with pytest.raises(GuardalignError, match="The disk is full"):
        train(settings, EXAMPLES, quiet)
    assert not (settings.output / "training.json").exists()


def test_a_full_disk_is_named_while_metrics_and_replies_are_appended(base, tmp_path, disk):
    folder = disk(8192)
    watching, store = progress.Progress(config(base, folder / "arm"), 9999, quiet), Store(folder / "r.jsonl", "made")
    store.resume()
    reply = Reply(pair_id="p", conversation_id="c", arm="a", text="no " * 999, tokens=999, finished=True)
    for append in (lambda: watching.step(1, {"loss": 0.5}), lambda: store.append([reply])):
        with pytest.raises(GuardalignError, match="The disk is full"):
            for _ in range(999):
                append()


def test_what_a_checkpoint_holds_is_what_it_was_given(tmp_path):
    for step in (1, 2, 3):
        save(tmp_path, step, {"step": step, "weights": torch.arange(step)})
    state = latest(tmp_path, quiet)
    assert state is not None and state["step"] == 3 and state["weights"].tolist() == [0, 1, 2]
    assert [path.name for path in saved(tmp_path)] == ["step-00000002.pt", "step-00000003.pt"]
    save(tmp_path, 2, {"step": 2})  # after going back, later ones must not count as the newest
    assert [path.name for path in saved(tmp_path)] == ["step-00000002.pt"]


class Planted:
    """What unpickling runs."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_checkpoint_cannot_run_code(base, tmp_path):
    settings = config(base, tmp_path / "cut", save_steps=2)
    signalled_at(3, signal.SIGKILL, settings)
    [there] = saved(tmp_path / "cut" / "checkpoints")
    state = torch.load(there, weights_only=True)
    torch.save(state | {"extra": Planted(tmp_path / "planted")}, there)
    lines: list[str] = []
    assert train(settings, EXAMPLES, lines.append).resumed_step == 0
    assert not (tmp_path / "planted").exists() and any("damaged" in line for line in lines)


@pytest.mark.parametrize(
    "damage, name",
    [
        *((damage, name) for damage in (truncate, flip) for name in ("model.safetensors", "metrics.jsonl")),
        (truncate, "training.json"),  # which has no checksum: another digit in it is not noticed
    ],
)
def test_a_damaged_arm_is_named_and_trained_again_to_the_same_weights(base, tmp_path, name, damage):
    settings = config(base, tmp_path / "arm")
    train(settings, EXAMPLES, quiet)
    whole = {path.name: path.read_bytes() for path in settings.output.iterdir() if path.name.startswith(("mod", "met"))}
    damage(settings.output / name)
    lines: list[str] = []
    assert not train(settings, EXAMPLES, lines.append).skipped
    assert any(("WARNING" in line and name.split(".")[0] in line) or "weights" in line for line in lines)
    assert (settings.output / "model.safetensors").read_bytes() == whole["model.safetensors"]
    assert train(settings, EXAMPLES, quiet).skipped


def test_an_arm_whose_weights_are_gone_is_trained_again(base, tmp_path):
    settings = config(base, tmp_path / "arm")
    train(settings, EXAMPLES, quiet)
    (settings.output / "model.safetensors").unlink()
    lines: list[str] = []
    assert not train(settings, EXAMPLES, lines.append).skipped and any("no model weights" in line for line in lines)


@pytest.mark.parametrize("name", ["model.safetensors", "training.json"])
def test_nothing_starts_from_a_damaged_arm(base, tmp_path, name):
    train(config(base, tmp_path / "sft", "sft"), EXAMPLES, quiet)
    truncate(tmp_path / "sft" / name)
    with pytest.raises(InputError, match="--again"):
        train(config(tmp_path / "sft", tmp_path / "ipo"), EXAMPLES, quiet)
    assert not (tmp_path / "ipo").exists()


@pytest.mark.parametrize("damage", [truncate, flip])
def test_a_damaged_shard_of_reference_log_probs_is_computed_again(base, tmp_path, damage, capsys):
    train(config(base, tmp_path / "whole", cache=tmp_path / "cache"), EXAMPLES, quiet)
    [shard] = (tmp_path / "cache").rglob("*.safetensors")
    before = shard.read_bytes()
    damage(shard)
    lines: list[str] = []
    train(config(base, tmp_path / "again", cache=tmp_path / "cache"), EXAMPLES, lines.append)
    assert any(f"{shard} is damaged" in line for line in lines)
    assert shard.read_bytes() == before and distance(tmp_path / "whole", tmp_path / "again") == 0
