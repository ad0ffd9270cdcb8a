"""ONNX files of satseg and of other programs as checkpoints, which onnxruntime computes."""
