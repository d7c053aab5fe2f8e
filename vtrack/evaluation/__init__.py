"""Evaluation of landmark models on annotated photographs."""

from vtrack.evaluation.evaluate import Outcome as Outcome
from vtrack.evaluation.evaluate import evaluate as evaluate
from vtrack.evaluation.evaluate import summary as summary
