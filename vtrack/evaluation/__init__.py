"""Evaluation of landmark models and of face detectors on annotated photographs, with figures and plots."""

from vtrack.evaluation.landmarks import LandmarkEvaluation as LandmarkEvaluation
from vtrack.evaluation.landmarks import evaluate as evaluate
from vtrack.evaluation.landmarks import summary as summary
