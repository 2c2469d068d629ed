"""What is checked before TFX is imported: the backbone, memory, places and secrets."""
