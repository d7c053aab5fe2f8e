"""Engines that run a landmark network: torch (with CUDA graphs on a GPU), onnxruntime, OpenVINO in bfloat16.

`vtrack.models.load_model` chooses one; all of them implement `vtrack.types.LandmarkModel`.
"""
