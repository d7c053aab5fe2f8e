"""Evaluation of landmark models on annotated photographs."""

from vtrack.evaluation.landmarks import Outcome as Outcome
from vtrack.evaluation.landmarks import evaluate as evaluate
from vtrack.evaluation.landmarks import summary as summary
