"""Reads published weights, MXNet's and ONNX's, into this project's backbones.

`import_mxnet.import_mxnet` and `import_onnx.import_onnx` translate a file into one small graph (`graph`), and
`structure` recognises the network in it and maps each array to a variable.
"""
