"""The embedded default: a synthetic world of customer care with guardrails that can be checked in a reply's text.

`scripts.write_scripts` makes conversations up together with rejected replies; `kinds` holds what guardrails demand;
`situation` and `reading` read texts; `writing` writes them. The YAML files hold the wordings. ``BASE_MODEL`` is the
small model that speaks this world (made by `guardalign.world.pretraining`, notebook 00).
"""

from pathlib import Path

BASE_MODEL = Path(__file__).parent / "base_model"
