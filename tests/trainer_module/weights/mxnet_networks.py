"""Writes a network of InsightFace's structure with random weights, and its embeddings by MXNet itself.

Runs under the oracle's interpreter: mxnet_networks.py NETWORK PREFIX, NETWORK one of iresnet18, 34, 50, 100 and
mobilefacenet. Writes PREFIX-symbol.json, PREFIX-0000.params and PREFIX.npz (pixels uint8 [2, 112, 112, 3], RGB;
embedding float32 [2, D]).
"""

import sys

import mxnet as mx
import numpy as np

UNITS = {"iresnet18": (2, 2, 2, 2), "iresnet34": (3, 4, 6, 3), "iresnet50": (3, 4, 14, 3), "iresnet100": (3, 13, 30, 3)}


def norm(x, name, fix_gamma=False, **options):
    return mx.sym.BatchNorm(x, name=name, fix_gamma=fix_gamma, momentum=0.9, **options)


def conv(x, filters, size, stride, name, groups=1, pad=None):
    pad = size // 2 if pad is None else pad
    return mx.sym.Convolution(
        x,
        num_filter=filters,
        kernel=(size, size),
        stride=(stride, stride),
        pad=(pad, pad),
        num_group=groups,
        no_bias=True,
        name=name,
    )


def prelu(x, name):
    return mx.sym.LeakyReLU(x, act_type="prelu", name=name)


def normalised():
    return (mx.sym.identity(mx.sym.Variable("data"), name="id") - 127.5) * 0.0078125


def iresnet(units):
    eps = {"eps": 2e-5}
    x = conv(normalised(), 64, 3, 1, "conv0")
    x = prelu(norm(x, "bn0", **eps), "relu0")
    for stage, (count, width) in enumerate(zip(units, (64, 128, 256, 512), strict=True), start=1):
        for unit in range(1, count + 1):
            name, stride = f"stage{stage}_unit{unit}", 2 if unit == 1 else 1
            y = conv(norm(x, f"{name}_bn1", **eps), width, 3, 1, f"{name}_conv1")
            y = prelu(norm(y, f"{name}_bn2", **eps), f"{name}_relu1")
            y = norm(conv(y, width, 3, stride, f"{name}_conv2"), f"{name}_bn3", **eps)
            if unit == 1:
                x = norm(conv(x, width, 1, stride, f"{name}_conv1sc"), f"{name}_sc", **eps)
            x = y + x
    x = mx.sym.Dropout(norm(x, "bn1", **eps), p=0.4)
    x = mx.sym.FullyConnected(x, num_hidden=512, name="pre_fc1")
    return norm(x, "fc1", fix_gamma=True, **eps)


def block(x, filters, size, stride, name, groups=1, pad=None, act=True):
    x = norm(conv(x, filters, size, stride, f"{name}_conv2d", groups, pad), f"{name}_batchnorm")
    return prelu(x, f"{name}_relu") if act else x


def bottleneck(x, width, inner, stride, name):
    x = block(x, inner, 1, 1, f"{name}_conv_sep")
    x = block(x, inner, 3, stride, f"{name}_conv_dw", groups=inner)
    return block(x, width, 1, 1, f"{name}_conv_proj", act=False)


def mobilefacenet():
    x = block(normalised(), 64, 3, 2, "conv_1")
    x = block(x, 64, 3, 1, "conv_2_dw", groups=64)
    for stage, (width, strided, inner, count) in enumerate(((64, 128, 128, 4), (128, 256, 256, 6), (128, 512, 256, 2))):
        x = bottleneck(x, width, strided, 2, f"dconv_{stage}")
        for unit in range(count):
            x = bottleneck(x, width, inner, 1, f"res_{stage}_block{unit}") + x
    x = block(x, 512, 1, 1, "conv_6sep")
    x = block(x, 512, 7, 1, "conv_6dw7_7", groups=512, pad=0, act=False)
    x = mx.sym.FullyConnected(x, num_hidden=128, name="pre_fc1")
    return norm(x, "fc1", fix_gamma=True, eps=2e-5)


def random_value(name, shape, random):
    """Values that leave no role equal to another, and activations of size 1 or so."""
    if name.endswith(("bn3_gamma", "proj_batchnorm_gamma")):  # small, or a hundred layers' sums reach 1e16
        return random.uniform(0.05, 0.3, shape)
    if name.endswith(("moving_var", "gamma")) and "relu" not in name:
        return random.uniform(0.5, 1.5, shape)
    if name.endswith(("moving_mean", "beta", "bias")):
        return random.normal(0, 0.3, shape)
    if name.endswith("gamma"):
        return random.uniform(0, 0.5, shape)
    return random.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape)


def main(network, prefix):
    symbol = mobilefacenet() if network == "mobilefacenet" else iresnet(UNITS[network])
    random = np.random.RandomState(0)
    shapes, _, aux_shapes = symbol.infer_shape(data=(2, 3, 112, 112))
    names = symbol.list_arguments()
    arguments = {n: mx.nd.array(random_value(n, s, random)) for n, s in zip(names, shapes, strict=True) if n != "data"}
    auxiliary = {
        n: mx.nd.array(random_value(n, s, random))
        for n, s in zip(symbol.list_auxiliary_states(), aux_shapes, strict=True)
    }
    mx.model.save_checkpoint(prefix, 0, symbol, arguments, auxiliary)
    pixels = random.randint(0, 256, (2, 112, 112, 3)).astype(np.uint8)
    data = mx.nd.array(pixels.transpose(0, 3, 1, 2).astype(np.float32))
    executor = symbol.bind(mx.cpu(), {**arguments, "data": data}, aux_states=auxiliary, grad_req="null")
    embedding = executor.forward(is_train=False)[0].asnumpy()
    np.savez(prefix + ".npz", pixels=pixels, embedding=embedding)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
