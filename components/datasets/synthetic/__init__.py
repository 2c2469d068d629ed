"""Drawn faces in the published file formats: a real recognition task that can be given away and made in seconds.

`identity` is who somebody is, `condition` how a picture was taken, `faces` draws the one under the other, `dataset`
writes the files and `sheet` a contact sheet. Needs numpy and Pillow.
"""

from components.datasets.synthetic.dataset import SyntheticSpec, write_dataset
from components.datasets.synthetic.faces import Condition, Identity, Variation, draw
from components.datasets.synthetic.sheet import write_sheet

__all__ = ["Condition", "Identity", "SyntheticSpec", "Variation", "draw", "write_dataset", "write_sheet"]
