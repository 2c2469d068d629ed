"""Makes the table of ops that a TF Serving has, from the `tensorflow` wheel of the same version.

Run it from the repository's root: `python -m serving.ops.read_wheel tensorflow-2.20.0-*.whl`. The wheel's libraries are
unpacked into a temporary folder (1.2 GB) and asked by TensorFlow's C API in a process of their own, so that the
environment's TensorFlow, of another version, isn't in the way. TF Serving links the same ops and kernels
(`//tensorflow/core:tensorflow`). The table holds what has a kernel for the CPU, and by attribute the types and words
that such kernels take.
"""

import ctypes
import json
import pathlib
import subprocess
import sys
import tempfile
import zipfile
from typing import Any

_LIBRARIES = ("tensorflow/libtensorflow_framework.so.2", "tensorflow/libtensorflow_cc.so.2")


class _Buffer(ctypes.Structure):
    """TF_Buffer of TensorFlow's C API."""

    _fields_ = (("data", ctypes.c_void_p), ("length", ctypes.c_size_t), ("deallocator", ctypes.c_void_p))


def _ask(folder: pathlib.Path, out: pathlib.Path) -> None:
    """In a process of its own: writes what the libraries in a folder know as protos `ops` and `kernels`."""
    framework, everything = (ctypes.CDLL(str(folder / name), mode=ctypes.RTLD_GLOBAL) for name in _LIBRARIES)
    for function in (everything.TF_GetAllOpList, everything.TF_GetAllRegisteredKernels):
        function.restype = ctypes.POINTER(_Buffer)
    framework.TF_NewStatus.restype = ctypes.c_void_p
    status = ctypes.c_void_p(framework.TF_NewStatus())
    for name, answer in (
        ("ops", everything.TF_GetAllOpList()),
        ("kernels", everything.TF_GetAllRegisteredKernels(status)),
    ):
        (out / name).write_bytes(ctypes.string_at(answer.contents.data, answer.contents.length))


def read_wheel(wheel: pathlib.Path) -> dict[str, Any]:
    """The table of a wheel: `tensorflow`, its version, and `ops`, see `read_libraries`."""
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(wheel) as archive:
            for name in _LIBRARIES:
                archive.extract(name, folder)
        return {"tensorflow": wheel.name.split("-")[1], "ops": read_libraries(pathlib.Path(folder))}


def read_libraries(folder: pathlib.Path) -> dict[str, dict[str, list[str] | None]]:
    """By op and attribute the types and words that it takes; None where it takes all.

    Args:
      folder: that holds `tensorflow/libtensorflow_cc.so.2`, a wheel's content or an environment's packages.
    """
    from tensorflow.core.framework import kernel_def_pb2, op_def_pb2

    with tempfile.TemporaryDirectory() as out:
        subprocess.run([sys.executable, "-m", "serving.ops.read_wheel", "--ask", str(folder), out], check=True)
        ops = op_def_pb2.OpList.FromString(pathlib.Path(out, "ops").read_bytes())
        kernels = kernel_def_pb2.KernelList.FromString(pathlib.Path(out, "kernels").read_bytes())
    by_op: dict[str, list[Any]] = {}
    for kernel in kernels.kernel:
        if kernel.device_type in ("CPU", "DEFAULT"):
            by_op.setdefault(kernel.op, []).append(kernel)
    return {op.name: {a.name: _allowed(a, by_op[op.name]) for a in op.attr} for op in ops.op if op.name in by_op}


def _allowed(attribute: Any, kernels: list[Any]) -> list[str] | None:
    """Types and words that the op and one of its kernels allow; None where neither says any."""
    allowed = _values(attribute.allowed_values) if attribute.HasField("allowed_values") else None
    of_kernels = [[c for c in kernel.constraint if c.name == attribute.name] for kernel in kernels]
    if not all(of_kernels):  # a kernel that takes all
        return allowed
    taken = {value for constraints in of_kernels for c in constraints for value in _values(c.allowed_values)}
    return sorted(taken if allowed is None else taken & set(allowed))


def _values(value: Any) -> list[str]:
    """Types by their names, and words, of a list in an AttrValue."""
    from tensorflow.core.framework import types_pb2

    words = [word.decode() for word in value.list.s]
    return sorted([types_pb2.DataType.Name(kind) for kind in value.list.type] + words)


def _main(arguments: list[str]) -> None:
    if arguments[0] == "--ask":
        _ask(*map(pathlib.Path, arguments[1:]))
        return
    table = read_wheel(pathlib.Path(arguments[0]))
    lines = [f"{json.dumps(name)}: {json.dumps(of, sort_keys=True)}" for name, of in sorted(table["ops"].items())]
    path = pathlib.Path(__file__).parent / f"ops-{table['tensorflow']}.json"
    path.write_text(f'{{"tensorflow": "{table["tensorflow"]}", "ops": {{\n' + ",\n".join(lines) + "\n}}\n")
    print(f"{path}: {len(lines)} ops")


if __name__ == "__main__":
    _main(sys.argv[1:])
