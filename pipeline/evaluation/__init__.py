"""Evaluating a model outside the pipeline: verification sets, folders of faces, searches."""
