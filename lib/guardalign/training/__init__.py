"""The trainer: model + examples + loss -> checkpoint, every distinct prefix computed once."""

from guardalign.training.config import TrainingConfig, TrainingResult
from guardalign.training.evaluation import PairScore, completion_logprobs, evaluate_pairs
from guardalign.training.trainer import NotFinite, train

__all__ = [
    "NotFinite",
    "PairScore",
    "TrainingConfig",
    "TrainingResult",
    "completion_logprobs",
    "evaluate_pairs",
    "train",
]
