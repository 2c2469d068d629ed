"""A digest of the source code behind a node.

TFX keys its cache by a node's properties, not by the code that runs: an edited `run_fn` would stay cached, and the old
model would be pushed. So each node of ours carries this digest as a property. It is made of syntax trees without what
a person reads, so that a reworded docstring, comment, setting, error or line of progress trains no model again.
"""

import ast
import functools
import hashlib
import importlib.util
import pathlib
from collections.abc import Iterator

from arcface_common.errors import DataError
from arcface_common.packages import PACKAGES

# They show how work goes, say what is wrong, end processes or make keys: no result of a node depends on them.
_TALK = ("arcface_common.console", "arcface_common.run_log")
_OTHERS = ("aside", "duration", "errors", "name_text", "processes", "setting", "source_digest")
_SHOWN = (
    "serving.published",
    "trainer_module.backbones.summary",
    "trainer_module.data.pairs",
    "trainer_module.training.outlook",
    "trainer_module.training.verification",
)
_WITHOUT_RESULT = frozenset((*_TALK, *_SHOWN, *(f"arcface_common.{name}" for name in _OTHERS)))
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def source_digest(*modules: str, backbone: str = "") -> str:
    """Digest of some modules' code and of every module of this project that they import, directly or not.

    A module that asks `importlib.resources` counts with the data files in its folder.

    Args:
      *modules: dotted names, e.g. "trainer_module.run_fn".
      backbone: `train.backbone`; of an own one, "package.module:function", the module counts, with what it imports from
        its own top-level package, or its own folder where it is in none. A module that isn't there has no code.

    Returns:
      16 hexadecimal digits.

    Raises:
      ModuleNotFoundError: no such module.
      DataError: a module is no Python.
    """
    files = source_files(*modules)
    own, colon, _ = backbone.partition(":")
    if colon and _own_places(own):
        files |= source_files(own, own=own)
    digest = hashlib.sha256()
    for name, path in sorted(files.items()):
        digest.update(f"{name}\0{_read(path.read_bytes(), str(path))[0]}\0".encode())
        for data in _data_files(path):
            digest.update(f"{data.relative_to(path.parent)}\0".encode() + data.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def source_files(*modules: str, own: str = "") -> dict[str, pathlib.Path]:
    """Name -> file of some modules and of all of this project's that they need, found without importing any.

    Args:
      *modules: dotted names.
      own: dotted name of a user's module, whose package, or folder, counts as one of this project's.

    Raises:
      ModuleNotFoundError: no such module.
      DataError: a module is no Python.
    """
    found: dict[str, pathlib.Path] = {}
    todo = list(modules)
    while todo:
        name = todo.pop()
        if not name or name in found or (name in _WITHOUT_RESULT and name not in modules):
            continue
        path = _source(name, own)
        if path is None:
            if name in modules:
                raise ModuleNotFoundError(f"expected a module of {PACKAGES}. Received: {name!r}")
            continue  # `from package.module import name` where the name is no module, or another project's
        found[name] = path
        todo += _imports(path, name)
        todo += [name.rpartition(".")[0]] if "." in name else []
    return found


def _source(name: str, own: str) -> pathlib.Path | None:
    """The file of a module or a package, None where it is none of this project's or of the user's."""
    package, *rest = name.split(".")
    places = _package_folders(package) if package in PACKAGES else _own_places(own, package) if own else []
    for place in places:
        base = place.joinpath(*rest)
        for path in (base / "__init__.py", base.with_name(f"{base.name}.py")):
            if path.is_file():
                return path
    return None


def _package_folders(package: str) -> list[pathlib.Path]:
    try:
        spec = importlib.util.find_spec(package)
    except ValueError:  # `__main__`, say
        return []
    return [pathlib.Path(place) for place in (spec and spec.submodule_search_locations) or ()]


def _own_places(own: str, package: str = "") -> list[pathlib.Path]:
    """Where a top-level name lies as far as it belongs to the user's module: its own package, or its own folder.

    Args:
      own: the user's module.
      package: a top-level name; that of `own` if empty.
    """
    top = own.partition(".")[0]
    package = package or top
    if folders := _package_folders(top):
        return folders if package == top else []
    spec = importlib.util.find_spec(top)
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return []
    folder = pathlib.Path(spec.origin).parent
    # What pip installs beside a module is no part of it.
    return [folder / package] if package == top or folder.name not in ("site-packages", "dist-packages") else []


@functools.cache
def _read(source: bytes, path: str) -> tuple[str, list[ast.Import | ast.ImportFrom]]:
    """A module's syntax tree without what a person reads, as text, and its imports, all of them.

    Raises:
      DataError: it's no Python.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError) as error:
        raise DataError(f"{path}: expected a Python module. Received: {error}") from error
    nodes = list(ast.walk(tree))
    imports = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    talk = {
        alias.asname or alias.name
        for node in imports
        if isinstance(node, ast.ImportFrom) and node.module in _TALK
        for alias in node.names
    }
    for node in nodes:
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
        elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            _drop_texts(node.exc)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in talk:
                _drop_texts(node)
            elif node.func.id == "Field":
                node.keywords = [given for given in node.keywords if given.arg != "description"]
    return ast.dump(tree), imports


def _drop_texts(call: ast.Call) -> None:
    """Takes the texts out of a call's arguments; what else it is given, such as what progress is made over, stays."""
    call.args = [given for given in call.args if not _is_text(given)]
    call.keywords = [given for given in call.keywords if not _is_text(given.value)]


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _imports(path: pathlib.Path, name: str) -> Iterator[str]:
    """Names that the module imports."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in _read(path.read_bytes(), str(path))[1]:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        else:
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (base, *(f"{base}.{alias.name}" for alias in node.names))


def _data_files(path: pathlib.Path) -> list[pathlib.Path]:
    """The data files in the folder of a module that reads some by `importlib.resources`."""
    if b"importlib.resources" not in path.read_bytes() and b"importlib import resources" not in path.read_bytes():
        return []
    files = (file for file in path.parent.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    return sorted(file for file in files if file.suffix not in (".py", ".pyc"))
