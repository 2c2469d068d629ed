"""A digest of the source files behind a node.

TFX keys its cache by a node's properties, not by the code that runs: an edited `run_fn` would stay cached, and the old
model would be pushed. So each node of ours carries this digest as a property.
"""

import ast
import hashlib
import importlib.util
import pathlib

PACKAGES = ("components", "evaluator_custom", "pipeline", "serving", "trainer_module")


def code_version(*modules: str) -> str:
    """Digest of some modules' source and of every module of this project that they import, directly or not.

    Args:
      *modules: dotted names, e.g. "trainer_module.run_fn".

    Returns:
      16 hexadecimal digits.

    Raises:
      ModuleNotFoundError: no such module.
    """
    digest = hashlib.sha256()
    for name, path in sorted(source_files(*modules).items()):
        digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def source_files(*modules: str) -> dict[str, pathlib.Path]:
    """Name -> file of some modules and of all of this project's that they need, found without importing any.

    Raises:
      ModuleNotFoundError: no such module.
    """
    found: dict[str, pathlib.Path] = {}
    todo = list(modules)
    while todo:
        name = todo.pop()
        if name in found:
            continue
        path = _source(name)
        if path is None:
            if name in modules:
                raise ModuleNotFoundError(f"expected a module of {PACKAGES}. Received: {name!r}")
            continue  # `from package.module import name` where the name is no module
        found[name] = path
        todo += _imports(path)
        todo += [name.rpartition(".")[0]] if "." in name else []
    return found


def _source(name: str) -> pathlib.Path | None:
    package, *rest = name.split(".")
    spec = importlib.util.find_spec(package) if package in PACKAGES else None
    if spec is None or not spec.submodule_search_locations:
        return None
    base = pathlib.Path(next(iter(spec.submodule_search_locations)), *rest)
    candidates = (base / "__init__.py", base.with_name(f"{base.name}.py"))
    return next((path for path in candidates if path.is_file()), None)


def _imports(path: pathlib.Path) -> list[str]:
    """Names that the module imports from this project's packages, inside functions too."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [n for n in names if n.partition(".")[0] in PACKAGES]
