"""A server with an exported model, in place of the project's own generation: the same prompts, the same replies."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from guardalign.config.params import Params
from guardalign.config.sections import Conversations, ServerArm, Source
from guardalign.files import RunFolder, project_root
from guardalign.study.export import export
from guardalign.study.run import Study
from guardalign.study.sources import load
from guardalign.world import BASE_MODEL
from tests.llm.test_llm_serve import free_port, pytestmark, serve, stop

__all__ = ["pytestmark"]


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[ServerArm]:
    """``transformers serve`` with the embedded base model, exported."""
    if not (BASE_MODEL / "config.json").exists():
        pytest.skip("the embedded base model is not built")
    model, port = export(BASE_MODEL, tmp_path_factory.mktemp("served") / "base"), free_port()
    process = serve(model, port)
    try:
        yield ServerArm(
            model=str(model), base_url=f"http://127.0.0.1:{port}/v1", max_tokens=48, reply_format="text", concurrency=1
        )
    finally:
        stop(process)


def test_a_server_that_is_named_for_an_arm_gives_the_replies_that_its_model_gives_here(served, tmp_path):
    """Greedy, float32 on both sides: a reply may part where two tokens are as likely up to rounding."""
    settings = Params.load(project_root() / "params" / "embedded.yaml")
    greedy = settings.generation.model_copy(update={"max_new_tokens": 48, "batch_size": 16})
    here = settings.model_copy(update={"generation": greedy})
    there = settings.model_copy(update={"generation": greedy.model_copy(update={"replies": {"base": served}})})
    source = Source(kind="world", conversations=Conversations(train=1, feedback=1, test=8))
    pairs = [each for each in load(source).pairs if each.split == "test"][:32]
    run = RunFolder(tmp_path)
    own = Study(here, run).answers("base", pairs, tmp_path / "own.jsonl")
    other = Study(there, run).answers("base", pairs, tmp_path / "other.jsonl")
    equal = sum(a.text == b.text and a.finished == b.finished for a, b in zip(own, other, strict=True))
    print(f"{equal} of {len(pairs)} replies are equal")
    assert [reply.pair_id for reply in other] == [pair.id for pair in pairs]
    assert len(pairs) == 32 and equal >= 31, [(a.text, b.text) for a, b in zip(own, other, strict=True)]
    assert len({reply.text for reply in own}) > 16
