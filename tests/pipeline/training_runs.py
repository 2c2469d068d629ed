"""Folders that look like a training run or an import to a configuration."""

import json


def model_json(**changed):
    """A `model.json`, with changes."""
    pixels = {"colour": "rgb", "mean": 127.5, "scale": 128.0}
    sound = {"backbone": "iresnet_tiny", "options": {}, "embedding_dim": 128, "pixel_format": pixels}
    sound |= {"classes": 2, "training": {}}
    return json.dumps(sound | changed)


def training_run(folder, weights="one"):
    """A training run's folder, as far as a configuration looks into it."""
    (folder / "checkpoint").mkdir(parents=True, exist_ok=True)
    pixels = {"colour": "bgr", "mean": 127.5, "scale": 127.5}
    (folder / "model.json").write_text(model_json(embedding_dim=64, pixel_format=pixels))
    (folder / "checkpoint" / "model.index").write_text(weights)
    return str(folder)
