"""The learned gate: what an image shows, judged from a small view by a small network.

`model.onnx` holds the weights, which `make train TRAIN_ARGS=gate` trains. Without onnxruntime (the extra
`gate`) rules decide alone.
"""
