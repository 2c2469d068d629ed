"""What arcface_torch calls a setting or a backbone, so that an error can say ours: see docs/how-to/training.md."""

SETTINGS = {
    "fp16": "train.precision",
    "frequent": "train.log_every",
    "gradient_acc": "train.accumulate",
    "interclass_filtering_threshold": "train.ignored_from",
    "margin_list": "train.margin",
    "network": "train.backbone",
    "num_epoch": "train.steps",
    "val_targets": "evaluation.sets",
    "verbose": "train.verify_every",
    "warmup_epoch": "train.warmup_steps",
}
BACKBONES = {
    "r18": "iresnet18",
    "r34": "iresnet34",
    "r50": "iresnet50",
    "r100": "iresnet100",
    "mbf": "mobilefacenet_mbf",
}
