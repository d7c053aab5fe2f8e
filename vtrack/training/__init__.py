"""Training of landmark models and of the face detector, and studies that compare trainings.

Needs annotated photographs (`vtrack.data`); the results are model cards with weights that `vtrack.models` and
`vtrack.detectors` load.
"""
