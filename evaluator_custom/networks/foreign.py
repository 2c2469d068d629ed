"""Other people's networks, to be judged as ours are: any SavedModel, or ONNX file, that takes images."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any, Literal, Self

import numpy as np
import tensorflow as tf

from arcface_common.console import say
from arcface_common.errors import DataError
from arcface_common.features import CHANNELS, IMAGE_SIZE, PixelFormat
from evaluator_custom.networks.embedder import Embedder, PairEmbedder
from evaluator_custom.networks.onnx_session import MAX_MEMORY, OnnxSession
from serving.signatures import SERVING, VERIFICATION
from serving.versions import find_network
from trainer_module.data.images import decode_faces, to_input
from trainer_module.literal_paths import load_saved_model, signature_names

Layout = Literal["nchw", "nhwc"]

_ONNX_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}
_FLOATS = (np.float16, np.float32, np.float64)


@dataclasses.dataclass(frozen=True)
class EmbedderOptions:
    """How a network takes images. One of ours knows all of it; there, `pixels.colour` "bgr" exchanges red and blue.

    Attributes:
      pixels: colour order and value range.
      signature: of a SavedModel; if None, `serving_default`, or the only one that takes images.
      input: name of the image input; if None, the only one.
      output: name of the embedding; if None, the only one.
      size: height and width in pixels; if None, as the input's shape says, and 112 where that is open.
      layout: order of the input's axes; if None, as the input's shape says.
    """

    pixels: PixelFormat = dataclasses.field(default_factory=PixelFormat)
    signature: str | None = None
    input: str | None = None
    output: str | None = None
    size: int | None = None
    layout: Layout | None = None


@dataclasses.dataclass(frozen=True)
class _Port:
    """An input or output: its name, axes (None where open; None at all where even their number is), and type."""

    name: str
    shape: tuple[int | None, ...] | None
    dtype: Any

    def takes_images(self) -> bool:
        """Whether it looks like a batch of pixels."""
        if self.dtype not in (*_FLOATS, np.uint8):
            return False
        if self.shape is None:
            return True
        return len(self.shape) == 4 and any(self.shape[axis] in (CHANNELS, None) for axis in (1, 3))

    def __str__(self) -> str:
        axes = "any shape" if self.shape is None else ["?" if axis is None else axis for axis in self.shape]
        return f"{self.name} {np.dtype(self.dtype).name if self.dtype else 'of another type'} {axes}".replace("'", "")


@dataclasses.dataclass(frozen=True)
class _Network:
    """What is left of a model once its input and output are chosen.

    Attributes:
      input: the chosen one.
      output: the chosen one.
      call: a batch in the input's layout and type -> what the output gives.
    """

    input: _Port
    output: _Port
    call: Callable[[np.ndarray], np.ndarray]

    @classmethod
    def from_onnx(cls, path: str, options: EmbedderOptions) -> Self:
        """Opens an ONNX file by onnxruntime.

        Raises:
          DataError: no ONNX file, one that isn't what it says, or inputs and outputs that the options don't choose.
        """
        if options.signature is not None:
            raise DataError(f"{path}: an ONNX file has no signatures. Received: --signature {options.signature}")
        session = OnnxSession(path)

        def port(node: Any) -> _Port:
            axes = tuple(axis if isinstance(axis, int) else None for axis in node.shape)
            return _Port(node.name, axes, _ONNX_DTYPES.get(node.type))

        chosen = _choose_input(path, [port(node) for node in session.inputs], options.input)
        output = _choose_output(path, [port(node) for node in session.outputs], options.output)
        return cls(chosen, output, lambda batch: session.run(output.name, chosen.name, batch))

    @classmethod
    def from_saved_model(cls, path: str, loaded: Any, options: EmbedderOptions) -> Self:
        """Takes a signature of a loaded SavedModel.

        Raises:
          DataError: signatures, inputs or outputs among which the options don't choose.
        """

        def ports(specs: Mapping[str, Any]) -> list[_Port]:
            return [
                _Port(name, None if spec.shape.rank is None else tuple(spec.shape), spec.dtype.as_numpy_dtype)
                for name, spec in specs.items()
            ]

        inputs = {name: ports(f.structured_input_signature[1]) for name, f in loaded.signatures.items()}
        name = _choose_signature(path, inputs, options.signature)
        function = loaded.signatures[name]
        chosen = _choose_input(f"{path}, signature {name}", inputs[name], options.input)
        output = _choose_output(f"{path}, signature {name}", ports(function.structured_outputs), options.output)
        return cls(chosen, output, lambda batch: function(**{chosen.name: tf.constant(batch)})[output.name].numpy())


def _choose_signature(path: str, inputs: dict[str, list[_Port]], wanted: str | None) -> str:
    taking = [name for name, ports in inputs.items() if len(ports) == 1 and ports[0].takes_images()]
    if wanted is not None and wanted in inputs:
        return wanted
    if wanted is None and SERVING in taking:
        return SERVING
    if wanted is None and len(taking) == 1:
        return taking[0]
    listed = "; ".join(f"{name} ({', '.join(map(str, ports))})" for name, ports in sorted(inputs.items()))
    expected = "--signature to name one of its signatures" if taking else "a signature with one image input"
    raise DataError(f"{path}: expected {expected}. Received: {wanted or 'none named'}, of {listed or 'none at all'}")


def _choose_input(where: str, ports: list[_Port], wanted: str | None) -> _Port:
    # An input beside the image has no value to be given, so that a second one is an error whatever is named.
    if len(ports) != 1:
        listed = ", ".join(map(str, ports))
        raise DataError(f"{where}: expected a network with one input, an image. Received: {listed or 'none'}")
    images = [port for port in ports if port.takes_images()]
    return _only(where, "--input", ports, [port for port in images if wanted in (None, port.name)], wanted)


def _choose_output(where: str, ports: list[_Port], wanted: str | None) -> _Port:
    floats = [port for port in ports if port.dtype in _FLOATS]
    if wanted is None:
        rows = [port for port in floats if port.shape is not None and len(port.shape) == 2]
        return _only(where, "--node", ports, rows or floats, wanted)
    return _only(where, "--node", ports, [port for port in floats if port.name == wanted], wanted)


def _only(where: str, flag: str, ports: list[_Port], fitting: list[_Port], wanted: str | None) -> _Port:
    if len(fitting) != 1:
        listed = ", ".join(map(str, ports))
        raise DataError(f"{where}: expected {flag} to name one. Received: {wanted or 'none named'}, of {listed}")
    return fitting[0]


class ForeignEmbedder(Embedder):
    """A network that this project didn't export."""

    def __init__(self, path: str, options: EmbedderOptions, *, loaded: Any = None) -> None:
        """Opens the network, and finds out how it takes images.

        Args:
          path: an ONNX file, or a SavedModel's folder.
          options: what its own description leaves open.
          loaded: what `tf.saved_model.load` gave for the folder; None for an ONNX file.

        Raises:
          DataError: what the options don't settle, or contradict.
        """
        self._path = path
        self._options = options
        if loaded is None:
            self._network = _Network.from_onnx(path, options)
        else:
            self._loaded = loaded  # keeps the variables alive
            self._network = _Network.from_saved_model(path, loaded, options)
        shape = self._network.input.shape or (None,) * 4
        self._batch = shape[0]
        self._layout = self._find_layout(shape)
        self._size = self._find_size(shape[2:] if self._layout == "nchw" else shape[1:3])
        if self._network.input.dtype == np.uint8 and (options.pixels.mean, options.pixels.scale) != (0, 1):
            raise DataError(
                f"{path}: input {self._network.input} takes pixels as they are: expected --mean 0 --scale 1. "
                f"Received: --mean {options.pixels.mean:g} --scale {options.pixels.scale:g}"
            )
        if self._batch is None and self._refusal(2):
            if refusal := self._refusal(1):
                raise DataError(f"{path}: expected a network that takes images. Received: {refusal}")
            # What arcface_torch's mbf export does: it declares an open batch, and reshapes to [1, 512].
            say(f"{path}: declares an open batch, and takes one image a call: slower")
            self._batch = 1
        self._prepare = tf.function(self._pixels, input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)

    def _refusal(self, images: int) -> str:
        """Why the network doesn't give a row for each of so many images; "" where it does."""
        size = (self._size, self._size)
        shape = (CHANNELS, *size) if self._layout == "nchw" else (*size, CHANNELS)
        try:
            rows = self._network.call(np.zeros((images, *shape), self._network.input.dtype))
        except Exception as error:  # onnxruntime has a dozen of them, and TensorFlow as many
            return str(error)
        return "" if len(rows) == images else f"{list(rows.shape)} for {images} images"

    def _find_layout(self, shape: tuple[int | None, ...]) -> Layout:
        likely: list[Layout] = []
        if shape[1] == CHANNELS:
            likely.append("nchw")
        if shape[3] == CHANNELS:
            likely.append("nhwc")
        if self._options.layout is None and len(likely) == 1:
            return likely[0]
        if self._options.layout is None or (likely and self._options.layout not in likely):
            raise DataError(
                f"{self._path}: expected --layout nchw or nhwc for input {self._network.input}. "
                f"Received: {self._options.layout or 'none'}"
            )
        return self._options.layout

    def _find_size(self, sides: tuple[int | None, ...]) -> int:
        size = self._options.size
        known = {side for side in sides if side is not None}
        if len(known) > 1 or (size is not None and known and known != {size}):
            raise DataError(
                f"{self._path}: expected a square input of --size pixels. "
                f"Received: {self._network.input}, --size {size or 'not given'}"
            )
        return size or next(iter(known), IMAGE_SIZE)

    def _pixels(self, image_bytes: tf.Tensor) -> tf.Tensor:
        """The network's input, images first, then their mirrors: string [N] -> [2N, ...] in its layout and type."""
        pixels = decode_faces(image_bytes, self._size)
        pixels = tf.concat([pixels, tf.image.flip_left_right(pixels)], axis=0)
        values = tf.cast(to_input(pixels, self._options.pixels), self._network.input.dtype)
        return tf.transpose(values, (0, 3, 1, 2)) if self._layout == "nchw" else values

    def embed_batch(self, images: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """See `Embedder.embed_batch`.

        Raises:
          DataError: the network doesn't take them, or the output is not one row an image.
        """
        values = self._prepare(tf.constant(images)).numpy()
        rows = self._in_batches(values)
        if len(rows) != len(values):
            raise DataError(
                f"{self._path}: expected {len(values)} embeddings for as many images. "
                f"Received: {list(rows.shape)} from {self._network.output}"
            )
        raw, mirrored = np.split(rows.reshape(len(rows), -1).astype(np.float32), 2)
        return raw, mirrored

    def _in_batches(self, values: np.ndarray) -> np.ndarray:
        if self._batch is None:
            return self._call(values)
        rows = []
        for begin in range(0, len(values), self._batch):
            batch = values[begin : begin + self._batch]
            filled = np.resize(batch, (self._batch, *batch.shape[1:]))  # repeats images where there are too few
            rows.append(self._call(filled)[: len(batch)])
        return np.concatenate(rows)

    def _call(self, batch: np.ndarray) -> np.ndarray:
        try:
            return self._network.call(batch)
        except Exception as error:  # see `_refusal`
            raise DataError(
                f"{self._path}: expected a network that takes images {list(batch.shape)}, as ONNX in at most "
                f"{MAX_MEMORY >> 30} GiB (MAX_MEMORY). Received: {error}"
            ) from error

    def facts(self) -> dict[str, str]:
        """How the network was fed and read."""
        return {
            "network": "ONNX, by onnxruntime" if self._path.endswith(".onnx") else "SavedModel of another origin",
            "input": f"{self._network.input}, {self._size} x {self._size} pixels, {self._layout}",
            "output": str(self._network.output),
            "pixels": str(self._options.pixels),
        }


def load_embedder(path: str, options: EmbedderOptions) -> Embedder:
    """Loads any network that can be judged.

    Args:
      path: an `.onnx` file; the folder of a SavedModel, of an import, or of numbered versions.
      options: how a network of another origin takes images; of these, one of ours minds `pixels.colour` alone.

    Returns:
      `PairEmbedder` for a model of ours, `ForeignEmbedder` for any other.

    Raises:
      DataError: neither, or what the options don't settle.
    """
    folder = find_network(path)
    if os.path.isfile(folder):
        return ForeignEmbedder(path, options)
    if VERIFICATION in signature_names(folder):
        return PairEmbedder(folder, swap_colours=options.pixels.colour == "bgr")
    return ForeignEmbedder(folder, options, loaded=load_saved_model(folder))
