"""The trainer: model + examples + loss -> checkpoint, every distinct prefix computed once."""

from guardalign.errors import OutOfMemory, Preempted
from guardalign.processes import PREEMPTED
from guardalign.training.config import TrainingConfig, TrainingResult
from guardalign.training.evaluation import PairScore, completion_logprobs, evaluate_pairs, summarise
from guardalign.training.trainer import NotFinite, train

__all__ = [
    "PREEMPTED",
    "NotFinite",
    "OutOfMemory",
    "PairScore",
    "Preempted",
    "TrainingConfig",
    "TrainingResult",
    "completion_logprobs",
    "evaluate_pairs",
    "summarise",
    "train",
]
