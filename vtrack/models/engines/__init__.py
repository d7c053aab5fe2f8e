"""What runs a landmark network: torch, onnxruntime, OpenVINO in bfloat16, CUDA graphs."""
