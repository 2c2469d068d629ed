"""What set-up needs and the product does not import.

`tools.setup` makes the environments and runs on any Python 3.9 or newer with the standard library alone. The other
modules run on `.venv-tools`, which it makes first and which also holds pyelftools.
"""
