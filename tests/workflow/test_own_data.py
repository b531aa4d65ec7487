"""One's own data: real pairs through training, conversations without rejected replies."""

from __future__ import annotations

import json

import pandas as pd
import pytest
import yaml

from guardalign.files import RunFolder
from series import ROOT, parameters, run, run_stage, save_base, write_parameters


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_base(tmp_path_factory.mktemp("base"))


STAR = ROOT.parent / "shared" / "data" / "care" / "star_pairs_600.jsonl"


@pytest.mark.skipif(not STAR.exists(), reason="no real pairs beside the checkout")
def test_real_pairs_go_through_training_and_held_out_evaluation(tmp_path, base):
    rows = STAR.read_text().splitlines()[::60]
    (tmp_path / "star.jsonl").write_text("\n".join(rows))
    own = yaml.safe_load((ROOT / "params" / "star_pairs.yaml").read_text())
    content = parameters(tmp_path / "run", base, source=own["source"] | {"path": str(tmp_path / "star.jsonl")})
    content |= {"judge": own["judge"], "model": own["model"] | {"name": str(base)}}
    code, output = run(write_parameters(tmp_path / "star.yaml", content), "--target", "tables/flow1.csv")
    assert code == 0, output
    table = pd.read_csv(tmp_path / "run" / "tables" / "flow1.csv")
    assert {"M_1SFT", "M_1SFT_ipo", "M_kto"} <= set(table["arm"])
    assert table["accuracy"].between(0, 1).all() and (table["nll"] > 0).all()


def test_own_conversations_without_rejected_replies_are_validated_split_and_named(tmp_path, base):
    turns = [{"role": "user", "text": "Hi"}, {"role": "agent", "text": "Hello"}]
    rows = [{"id": number, "turns": turns} for number in range(12)] + [{"id": 3, "turns": turns}]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = {"kind": "jsonl", "path": str(tmp_path / "own.jsonl")}
    content = parameters(tmp_path / "run", base, source=source, judge={"kind": "none"})
    params = write_parameters(tmp_path / "tiny.yaml", content)
    code, output = run_stage(ROOT / "notebooks" / "01_dataset_construction.ipynb", params)
    assert code == 1 and "12 usable conversations but no rejected replies" in output
    folder = RunFolder(tmp_path / "run")
    assert len(folder.data("conversations").read_text().splitlines()) == 12
    assert "repeats line 4" in folder.data("refused").read_text()
