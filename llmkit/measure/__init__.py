"""Measures a run's answers: cells of arm and condition, paired statistics, metrics, gates and comparisons of runs."""

from llmkit.measure.beside import Beside, beside
from llmkit.measure.compare import compare
from llmkit.measure.metrics import metrics
from llmkit.measure.results import GateResult, Metrics

__all__ = ["Beside", "GateResult", "Metrics", "beside", "compare", "metrics"]
