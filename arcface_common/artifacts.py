"""Names of files and folders that are written in one place and read in others."""

MODEL_NAME = "arcface"  # the name under which TF Serving offers the model, and the folder it is pushed to
SAVED_MODEL_FILE = "saved_model.pb"  # TensorFlow's, in each SavedModel
EXTRA = "assets.extra"  # what describes a SavedModel lies here, where TensorFlow and TF Serving leave it alone
METADATA_FILE = "model.json"
WARMUP_FILE = "tf_serving_warmup_requests"  # the name is TF Serving's
REFERENCE_FILE = "reference_embeddings.npy"
VERIFICATION_FILE = "verification.json"  # figures and thresholds, added when the model is pushed
IDENTITIES_FILE = "identities.txt"  # beside class centres: the label of each class, a line each
BEST_FILE = "best_so_far.json"  # beside it in a blessing: what the best blessed models made of the pairs
IMPORTED_MODEL = "saved_model"  # an import's SavedModel, beside its checkpoint

# Beside the splits of train Examples: "Split-train/<shard>" -> records.
RECORD_COUNTS_FILE = "record_counts.json"

# Beside folders of faces.
FACES_FILE = "faces.csv"  # `align`: what became of each photo
SHEET_FILE = "rejected.html"  # `align`: those that gave no crop
PAIRS_FILE = "pairs.txt"  # `unpack`: lines "path_a TAB path_b TAB 0|1", as `convert --pairs` reads them
SKIPPED_FILE = "skipped.csv"  # `--skip-bad`; columns: what can't be used, and why
