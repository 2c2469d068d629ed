import builtins
import codecs
import io
import operator
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components import verification_bin
from components.verification_bin import VerificationSetError

JPEG = b"\xff\xd8\xff"
PNG = b"\x89PNG\r\n\x1a\n"
images = st.tuples(st.sampled_from([JPEG, PNG]), st.binary(max_size=20)).map(b"".join)
flags = st.booleans() | st.integers(0, 1) | st.booleans().map(np.bool_) | st.integers(0, 1).map(np.int64)


def read(data: bytes) -> verification_bin.VerificationSet:
    return verification_bin.read("set.bin", open_file=lambda _: io.BytesIO(data))


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
        ({"images": 1}, "Received: dict"),
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
    with pytest.raises(VerificationSetError, match="set.bin"):
        verification_bin.read("set.bin")
    assert os.listdir(tmp_path) == ["set.bin"]


@pytest.mark.parametrize(
    "body",
    [
        b"c_codecs\nencode\n}U\x0c__defaults__K\x01s\x86b",  # BUILD on a function would set its attributes
        b"cnumpy\ndtype\n)\x81",  # NEWOBJ
        b"cnumpy\nndarray\n(cnumpy\nndarray\nJ\xff\xff\xff\x7f\x85U\x01btR.",
        b"cnumpy\ndtype.type\n",  # a dotted path behind an admitted name
        b"Pid\n",  # persistent id
        b"\x82\x01",  # extension registry
        b"]}U\x01xK\x01sb",  # BUILD on a list
        b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(U\x02u8K\x00K\x01tRU\x01xtR",  # 8 bytes out of 1
    ],
)
def test_opcodes_that_reach_beyond_data(body: bytes) -> None:
    encode = verification_bin._NAMES["_codecs", "encode"]
    before = encode.__defaults__
    with pytest.raises(VerificationSetError):
        read(b"\x80\x02](" + body + JPEG + b"e](\x88e\x86.")
    assert encode.__defaults__ == before


def test_a_shape_without_its_bytes_is_no_allocation() -> None:
    array = pickle.dumps(np.zeros(4, np.uint8), 2).replace(b"K\x04\x85", b"J" + struct.pack("<i", 2**31 - 1) + b"\x85")
    with pytest.raises(VerificationSetError, match="an array of shape .2147483647"):
        read(array)
