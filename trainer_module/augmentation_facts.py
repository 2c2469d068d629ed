"""Names of the augmentations; standard library only. `data.augmentation` has what each does."""

AUGMENTATIONS = ("crop", "zoom", "low_resolution", "photometric", "jpeg")  # in the order in which an image meets them
