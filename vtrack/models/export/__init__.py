"""Networks as files: ONNX graphs for vtrack's engines, their 8-bit versions, and standalone models for other programs."""
