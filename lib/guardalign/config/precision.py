"""The number formats a model's weights are loaded in."""

from typing import Literal

Precision = Literal["fp32", "bf16", "int8", "nf4"]
