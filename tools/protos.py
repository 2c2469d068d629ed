"""Compiles serving/protos/*.proto to the descriptors beside them: `python -m tools.protos`, by grpcio-tools."""

from __future__ import annotations

import pathlib
import sys

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "serving" / "protos"


def compile_all(into: pathlib.Path) -> None:
    """Writes a descriptor set of each `.proto` file, with what it imports.

    Raises:
      RuntimeError: protoc refuses one; its reason stands above.
    """
    from grpc_tools import protoc  # of the development environment

    for path in sorted(FOLDER.glob("*.proto")):
        include = pathlib.Path(protoc.__file__).parent / "_proto"
        arguments = [f"-I{FOLDER}", f"-I{include}", "--include_imports", f"-o{into / path.stem}.binpb", path.name]
        if protoc.main(["protoc", *arguments]):
            raise RuntimeError(f"{path}: expected a .proto file that compiles. Received: another")


if __name__ == "__main__":
    compile_all(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
