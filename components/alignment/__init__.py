"""From photos to aligned crops of 112x112 pixels: faces are found, one of them is chosen, turned and cut out.

`aligned` gives the crops of single photos, `folder.align_folder` those of a whole folder with their list.
"""
