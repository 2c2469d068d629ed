"""What the signatures and outputs of an exported model are called, beside `arcface_common.features`."""

SERVING = "serving_default"
EMBED_PIXELS = "embed_pixels"
ALIGN_AND_EMBED = "align_and_embed"
SIMILARITY = "similarity"
VERIFICATION = "verification"
INIT = "__saved_model_init_op"  # TensorFlow's, among the signatures
RAW = "raw"
RAW_MIRRORED = "raw_mirrored"
MODEL_VERSION_HEADER = "X-Model-Version"  # of our server's answers by HTTP
