"""Data sets as people have them: folders of faces, lists of pairs, drawn ones, and their way to InsightFace's files."""
