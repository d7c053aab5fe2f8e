"""Networks as files: ONNX graphs for vtrack and for other programs, and their 8-bit twins."""
