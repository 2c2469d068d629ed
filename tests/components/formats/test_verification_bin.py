import builtins
import codecs
import io
import operator
import os
import pickle
import re
import struct
import subprocess
import sys
import tempfile
import types
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arcface_common.errors import DataError
from components.formats import data_pickle, verification_bin
from components.formats.verification_bin import VerificationSetError
from tests.helpers import ROOT

JPEG = b"\xff\xd8\xff"
PNG = b"\x89PNG\r\n\x1a\n"
images = st.tuples(st.sampled_from([JPEG, PNG]), st.binary(max_size=20)).map(b"".join)
flags = st.booleans() | st.integers(0, 1) | st.booleans().map(np.bool_) | st.integers(0, 1).map(np.int64)


def read(data: bytes) -> verification_bin.VerificationSet:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "set.bin")
        path.write_bytes(data)
        return verification_bin.read(path)


def of_numpy_1(data: bytes) -> bytes:
    """The same pickle as numpy 1 writes it (up to protocol 3; from 4 on, the lengths of names are in there)."""
    return data.replace(b"cnumpy._core.", b"cnumpy.core.")


@given(st.lists(st.tuples(images, images, flags), min_size=1, max_size=5), st.integers(0, 5), st.booleans())
def test_all_protocols_bytes_and_arrays(pairs: list[tuple], protocol: int, arrays: bool) -> None:
    flat = [x for pair in pairs for x in pair[:2]]
    stored = [np.frombuffer(x, np.uint8) for x in flat] if arrays else flat
    is_same = [x[2] for x in pairs]
    for data in (pickle.dumps((stored, is_same), protocol), of_numpy_1(pickle.dumps([stored, is_same], protocol))):
        found = read(data)
        assert found.images == flat
        assert found.is_same.dtype == np.bool_
        assert found.is_same.tolist() == [bool(x) for x in is_same] and len(found) == len(pairs)


def test_a_flag_array() -> None:
    data = pickle.dumps(([JPEG] * 4, np.array([True, False])))
    assert read(data).is_same.tolist() == [True, False]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("dtype", ["?", "i4", ">i8", "u1", "f4", "f8"])
def test_flags_are_bools_or_0_and_1_in_a_list_or_an_array(dtype: str, protocol: int) -> None:
    array = np.array([1, 0], dtype)
    for is_same in (array, array[:, None], list(array), array.tolist()):
        data = pickle.dumps(([JPEG] * 4, is_same), protocol)
        assert read(data).is_same.tolist() == [True, False]


@pytest.mark.parametrize("protocol", range(6))
def test_images_are_arrays_of_one_row_or_column(protocol: int) -> None:
    """`cv2.imencode` gives [N, 1] or [N], by its version."""
    array = np.frombuffer(PNG + b"abc", np.uint8)
    stored = [array[:, None], array[None], np.asfortranarray(array[:, None]), array]
    assert read(pickle.dumps((stored, [True, False]), protocol)).images == [PNG + b"abc"] * 4


def test_an_array_that_pairs_share_is_one_bytes_object() -> None:
    array = np.frombuffer(PNG, np.uint8)
    found = read(pickle.dumps(([array] * 4, [True, False]), 2))
    assert len({id(image) for image in found.images}) == 1


def test_a_pickle_of_python_2() -> None:
    """Python 2.7's `cPickle.dumps(([jpeg, numpy.frombuffer(png, "u1")], [True]), 2)`: str is SHORT_BINSTRING."""
    image = b"U" + bytes([len(JPEG) + 2]) + JPEG + b"\x80\x0a"
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR(K\x01K\x0a\x85cnumpy\ndtype\n"
        b"(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x0a" + PNG + b"\x80\xfftb"
    )
    data = b"\x80\x02](" + image + array + b"e](\x88e\x86."
    assert read(data).images == [JPEG + b"\x80\x0a", PNG + b"\x80\xff"]


def test_a_big_endian_scalar_and_a_fortran_array() -> None:
    one = np.array([1, 0], ">i8")
    data = pickle.dumps(([JPEG] * 4, [one[0], one[1]]), 2)
    assert read(data).is_same.tolist() == [True, False]


@given(st.lists(images, min_size=2, max_size=2), st.booleans())
def test_written_as_insightface_writes(pair: list[bytes], same: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        file = io.BytesIO()
        file.close = lambda: None
        patch.setattr(builtins, "open", lambda *_: file)
        verification_bin.write("set.bin", pair * 2, [same, not same])
    unique = {x: x for x in pair}
    assert file.getvalue() == pickle.dumps(([unique[x] for x in pair * 2], [same, not same]), 2)
    assert read(file.getvalue()).images == pair * 2


def test_write_then_read(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    verification_bin.write(path, [JPEG + b"a", JPEG + b"b"], np.array([True]))
    found = verification_bin.read(path)
    assert (found.images, found.is_same.tolist()) == ([JPEG + b"a", JPEG + b"b"], [True])
    with pytest.raises(VerificationSetError, match="a.bin: pair 0, second image: .*Received: 1 bytes"):
        verification_bin.write(path, [JPEG, b"x"], [True])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (([], []), "at least one pair. Received: 0 images, 0 pairs"),
        (([JPEG] * 3, [True]), "Received: 3 images, 1 pairs"),
        (([JPEG] * 2, [True, False]), "Received: 2 images, 2 pairs"),
        (([JPEG, JPEG, JPEG, b"GIF89a"], [True, True]), r"pair 1, second image: .*6 bytes that begin with '47 49"),
        (([JPEG, JPEG, None, JPEG], [True, True]), "pair 1, first image: .*Received: NoneType"),
        (([JPEG, np.zeros((112, 112, 3), np.uint8)], [True]), r"pair 0, .*array of uint8 \[112, 112, 3\]"),
        (([JPEG, np.zeros(9, np.int32)], [True]), "pair 0, .*array of int32"),
        (([JPEG] * 4, [True, 2]), "pair 1: expected is_same to be a bool. Received: int '2'"),
        (([JPEG] * 4, [True, "yes"]), "pair 1: .*Received: str 'yes'"),
        ((JPEG, [True]), "a list of images and a list of bools"),
        ([JPEG] * 3, "expected .images, is_same.. Received: list of 3"),
        ({"images": 1}, "Received: UnpicklingError: opcode EMPTY_DICT at byte 11, which makes no image data"),
        (([JPEG] * 4, [True, 0.5]), "pair 1: expected is_same to be a bool. Received: float '0.5'"),
        (([JPEG] * 4, np.array([1, 2])), "pair 1: expected is_same to be a bool. Received: int '2'"),
        (([JPEG] * 4, np.eye(2)), r"list of 4 and array of float64 \[2, 2\]"),
        (([JPEG] * 2, [10**5000]), "Received: UnpicklingError: a number of 16610 bits at byte"),
    ],
)
def test_what_is_no_verification_set(content: object, message: str) -> None:
    with pytest.raises(VerificationSetError, match=f"set.bin: .*{message}"):
        read(pickle.dumps(content, 4))


@given(st.integers(0, 200))
def test_a_truncated_file(size: int) -> None:
    data = pickle.dumps(([JPEG + bytes(50)] * 2 + [np.frombuffer(JPEG, np.uint8)] * 2, [True, np.bool_(False)]), 2)
    with pytest.raises(VerificationSetError, match="set.bin: expected a whole pickle"):
        read(data[: min(size, len(data) - 1)])


class Reduced:
    """Pickles as a call, which is what every gadget is."""

    def __init__(self, *reduced: object) -> None:
        self.reduced = reduced

    def __reduce__(self) -> tuple:
        return self.reduced

    def __call__(self) -> None:
        """Callable, so that a gadget's result may be called in its turn."""


GADGETS = {
    "os.system": Reduced(os.system, ("touch ran",)),
    "eval": Reduced(eval, ("open('ran', 'w')",)),
    "exec": Reduced(exec, ("open('ran', 'w')",)),
    "import": Reduced(__import__, ("os",)),
    "getattr": Reduced(getattr, (b"", "join")),
    "open": Reduced(open, ("ran", "w")),
    "attrgetter chain": Reduced(Reduced(operator.attrgetter, ("__class__.__base__.__subclasses__",)), (b"",)),
    "methodcaller": Reduced(operator.methodcaller, ("system", "touch ran")),
    "numpy.load": Reduced(np.load, ("ran", None, True)),
    "numpy.fromfile": Reduced(np.fromfile, ("ran",)),
    "numpy.memmap": Reduced(np.memmap, ("ran", "u1", "w+", 0, (1,))),
    "numpy of objects": np.array([Reduced(os.system, ("touch ran",))], object),
    "numpy record": np.zeros(1, [("a", "u1")]),
    "other codec": Reduced(codecs.encode, ("ran", "rot13")),
    "bytes of a size": Reduced(bytes, (10**12,)),
    "class": Path("ran"),
}


@pytest.mark.parametrize("gadget", GADGETS.values(), ids=GADGETS.keys())
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_malicious_pickle_runs_nothing(
    gadget: object, protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "set.bin").write_bytes(pickle.dumps(([JPEG, gadget], [True]), protocol))
    refused = (
        "set.bin: expected a whole pickle of images and bools and nothing else. Received: (UnpicklingError|TypeError): "
    )
    with pytest.raises(VerificationSetError, match=refused):
        verification_bin.read("set.bin")
    assert os.listdir(tmp_path) == ["set.bin"]


@pytest.mark.parametrize(
    "body",
    [
        b"c_codecs\nencode\n}U\x0c__defaults__K\x01s\x86b",  # BUILD on a function would set its attributes
        b"cnumpy\ndtype\n)\x81",  # NEWOBJ
        b"cnumpy\nndarray\n(cnumpy\nndarray\nJ\xff\xff\xff\x7f\x85U\x01btR",
        b"cnumpy\ndtype.type\n",  # a dotted path behind an admitted name
        b"Pid\n",  # persistent id
        b"\x82\x01",  # extension registry
        b"]}U\x01xK\x01sb",  # BUILD on a list
        b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(U\x02u8K\x00K\x01tRU\x01xtR",  # 8 bytes out of 1
    ],
)
def test_opcodes_that_reach_beyond_data(body: bytes) -> None:
    data = b"\x80\x02](" + body + b"U\x03" + JPEG + b"e](\x88e\x86."
    with pytest.raises(VerificationSetError, match="Received: (UnpicklingError: |NoneType)"):
        read(data)


# Each holds without the look at the opcodes, too, which would refuse the dictionary that the attack needs.
@pytest.mark.parametrize("state", [b"}X\x0c\0\0\0__defaults__K\x01\x85s", b"N}X\x0c\0\0\0__defaults__K\x01\x85s\x86"])
@pytest.mark.parametrize("name", [*data_pickle._NAMES, ("numpy", "dtype"), ("_codecs", "encode")])
def test_nothing_is_done_to_an_admitted_name_but_call_it(name: tuple[str, str], state: bytes) -> None:
    attack = b"\x80\x02c%s\n%s\n%sb." % (name[0].encode(), name[1].encode(), state)
    functions = [x for x in vars(data_pickle).values() if isinstance(x, types.FunctionType)]
    before = [x.__defaults__ for x in functions]
    with pytest.raises(pickle.UnpicklingError, match="an attempt to change a function"):
        data_pickle.DataUnpickler(attack).load()
    assert [x.__defaults__ for x in functions] == before
    with pytest.raises(pickle.UnpicklingError, match="opcode EMPTY_DICT"):
        data_pickle.load(attack)


@pytest.mark.parametrize(
    "name", ["builtins getattr", "__builtin__ getattr", "builtins eval", "os system", "posix system", "numpy load"]
)
def test_no_other_name_is_answered(name: str) -> None:
    module, function = name.split()
    with pytest.raises(pickle.UnpicklingError, match=f"asks for {module}.{function}, which is no image data"):
        data_pickle.DataUnpickler(b"").find_class(module, function)
    with pytest.raises(VerificationSetError, match=f"asks for {module}.{function}, which is no image data"):
        read(b"\x80\x02](U\x03" + JPEG + f"c{module}\n{function}\n".encode() + b"e](\x88e\x86.")


HEAD = b"\x80\x02"
ENCODED = HEAD + b"](c_codecs\nencode\nq\x01X\x80\x84\x1e\0" + b"a" * 2_000_000 + b"X\x06\0\0\0latin1\x86q\x02R"
ARRAY = pickle.dumps(bytearray(2_000_000), 5)[:-1]  # without its STOP: the buffer, in memo place 0
# 25 tuples, each of which holds the one before twice: 200 bytes, and 2**25 texts of it for whoever prints or hashes it.
LAUGHS = b"X\x01\0\0\0x\x85" + b"".join(b"q%ch%c\x86" % (i, i) for i in range(25))
DTYPE = b"cnumpy\ndtype\nU\x02u1\x85R"
BUFFER = b"cnumpy.core.numeric\n_frombuffer\n("
LONG_TEXT = HEAD + b"](X" + struct.pack("<I", 2**22) + b"x" * 2**22 + b"q\x01"
BOMBS = {
    "nested tuple as dtype": (HEAD + b"cnumpy\ndtype\n" + LAUGHS + b"\x85R.", "a tuple where a name must be"),
    "nested tuple as byte order": (
        HEAD + DTYPE + b"K\x03" + LAUGHS + b"\x86b.", "a tuple where a name must be"),
    "nested tuple as encoding": (
        HEAD + b"c_codecs\nencode\nU\x01x" + LAUGHS + b"\x86R.", "a tuple where a name must be"),
    "nested tuple as text": (
        HEAD + b"c_codecs\nencode\n" + LAUGHS + b"U\x06latin1\x86R.", "_codecs.encode of a tuple to 'latin1'"),
    "nested tuple as shape": (
        HEAD + BUFFER + b"U\x01x" + DTYPE + LAUGHS + b"U\x01CtR.", "shape is not of whole numbers"),
    "nested tuple as order": (HEAD + BUFFER + b"U\x01x" + DTYPE + b"K\x01" + LAUGHS + b"tR.", "a tuple where a name"),
    "nested tuple as data": (HEAD + BUFFER + LAUGHS + DTYPE + b"K\x01U\x01CtR.", "an array without plain data"),
    "nested tuple as flag": (
        HEAD + b"](U\x03" + JPEG + b"U\x03" + JPEG + b"e](" + LAUGHS + b"e\x86.", "to be a bool. Received: tuple of 2"),
    "nested tuple as image": (
        HEAD + b"](" + LAUGHS + b"U\x03" + JPEG + b"e](\x88e\x86.", "first image: .*Received: tuple of 2"),
    "nested tuple as all": (HEAD + LAUGHS + b".", "Received: 2 images, 2 pairs"),
    "one text named a hundred thousand times": (
        LONG_TEXT + (BUFFER + b"U\x01x" + DTYPE + b"K\x01h\x01tR") * 20_000 + b"e.", "a name of 4,194,304 characters"),
    "a shape of 200,000 large numbers": (
        HEAD + BUFFER + b"U\x01x" + DTYPE + b"(\x8a\x08" + b"\xff" * 7 + b"\x7fq\x01" + b"h\x01" * 200_000
        + b"tU\x01CtR.", "an array without plain data"),
    "memo place 2**27": (HEAD + b"]r" + struct.pack("<I", 2**27) + b".", "memo place 134217728 at byte 3"),
    "memo place as text": (HEAD + b"]p999999999\n.", "memo place 999999999"),
    "huge number": (pickle.dumps(10**5000, 2), "a number of 16610 bits"),
    "huge number as text": (b"L" + b"9" * 5000 + b"L\n.", "ValueError: Exceeds the limit"),
    "8 bytes of length": (b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"x.", "ValueError: expected 1099511627776"),
    "deep tuple": (HEAD + b")" + b"\x85" * 1_000_000 + b".", "Received: tuple of 1"),
    "more opcodes than the file allows": (HEAD + b"(" + b"]" * 1_500_000 + b"t.", "more than 1,236,0.. opcodes in"),
    "one text encoded a hundred times": (ENCODED + b"h\x01h\x02R" * 100 + b"e.", "more bytes made than the file holds"),
    "one buffer in a hundred arrays": (
        ARRAY + b"("
        + b"cnumpy.core.numeric\n_frombuffer\n(h\x00cnumpy\ndtype\nU\x02u1\x85RJ\x80\x84\x1e\0U\x01CtR" * 100
        + b"t.", "more bytes made than the file holds"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "message"), BOMBS.values(), ids=BOMBS.keys())
def test_a_small_file_takes_no_large_memory(data: bytes, message: str, tmp_path: Path) -> None:
    """In a process of 600 MB of address space beyond what it has: 9 bytes of pickle took 2 GB."""
    (tmp_path / "bomb.bin").write_bytes(data)
    code = (
        "import resource, sys; from components.formats import verification_bin\n"
        "size = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize() + 600_000_000\n"
        "resource.setrlimit(resource.RLIMIT_AS, (size, size))\n"
        "try: verification_bin.read(sys.argv[1])\n"
        "except verification_bin.VerificationSetError as error: print(error)"
    )
    command = [sys.executable, "-c", code, tmp_path / "bomb.bin"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    assert re.search(message, result.stdout), result.stdout[-300:]
    assert "MemoryError" not in result.stdout


def test_a_huge_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "lfw.bin"
    path.touch()
    os.truncate(path, 12 << 30)
    limit = r"lfw.bin: expected a file of at most 1,073,741,824 bytes \(evaluation.max_set_mb\). Received: 12,884"
    with pytest.raises(DataError, match=limit):
        verification_bin.read(path)
    os.truncate(path, 2**20 + 1)
    with pytest.raises(DataError, match=r"at most 1,048,576 bytes \(evaluation.max_set_mb\)"):
        verification_bin.read(path, max_set_mb=1)
    with pytest.raises(VerificationSetError, match="expected a whole pickle"):
        verification_bin.read(path, max_set_mb=2)


def test_a_shape_without_its_bytes_is_no_allocation() -> None:
    array = pickle.dumps(np.zeros(4, np.uint8), 2).replace(b"K\x04\x85", b"J" + struct.pack("<i", 2**31 - 1) + b"\x85")
    with pytest.raises(VerificationSetError, match="an array of shape .2147483647"):
        read(array)
