"""The node that exports: a checkpoint to the SavedModel that is evaluated, pushed and served."""
