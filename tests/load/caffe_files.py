"""Caffe files written by hand: the wire format of Protocol Buffers, and text, with the numbers of caffe.proto."""

import struct

import numpy as np


def varint(value):
    value &= 2**64 - 1
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number, value):
    """A field: a whole number, a text, or the bytes of a message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(content)) + content


def blob(values, form="new"):
    """Weights: with a shape and packed, as today; with four sizes (old); unpacked; or as double."""
    values = np.asarray(values)
    shape = b"".join(field(1, size) for size in values.shape)
    if form == "new":
        shape = field(7, field(1, b"".join(varint(size) for size in values.shape)))
    elif form == "old":
        sizes = (1,) * (4 - values.ndim) + values.shape
        shape = b"".join(field(number, size) for number, size in enumerate(sizes, 1))
    else:
        shape = field(7, shape)
    if form == "double":
        return shape + field(8, values.astype("<f8").tobytes())
    if form == "unpacked":
        return shape + b"".join(field(5, float(one)) for one in values.astype(np.float32).ravel())
    return field(5, values.astype("<f4").tobytes()) + shape


def layer(name, kind, blobs=(), *, bottom=(), top=(), form="new", more=b""):
    """A layer of today."""
    values = [field(3, one) for one in bottom] + [field(4, one) for one in top]
    return field(
        100,
        field(1, name) + field(2, kind) + b"".join(values) + b"".join(field(7, blob(b, form)) for b in blobs) + more,
    )


def old_layer(name, kind, blobs=(), *, bottom=(), top=(), form="old", more=b""):
    """A layer of V1, whose type is a number."""
    values = [field(2, one) for one in bottom] + [field(3, one) for one in top]
    return field(
        2, b"".join(values) + field(4, name) + field(5, kind) + b"".join(field(6, blob(b, form)) for b in blobs) + more
    )


def oldest_layer(name, kind, blobs=()):
    """A layer of V0, inside one of V1."""
    return field(2, field(1, field(1, name) + field(2, kind) + b"".join(field(50, blob(b, "old")) for b in blobs)))


def net(*layers, name="net"):
    return field(1, name) + b"".join(layers)


def save(folder, text, *layers, name="model"):
    """The two files; gives the path of the weights."""
    (folder / f"{name}.prototxt").write_text(text)
    (folder / f"{name}.caffemodel").write_bytes(net(*layers))
    return folder / f"{name}.caffemodel"


def text_of(layers, input_shape):
    """A deploy network: lines of name, type, and options, each layer on what the one before it gives."""
    dims = " ".join(f"dim: {size}" for size in (1, *input_shape))
    lines = [f'name: "net"\nlayer {{ name: "data" type: "Input" top: "data" input_param {{ shape: {{ {dims} }} }} }}']
    bottom = "data"
    for name, kind, options in layers:
        top = bottom if kind in ("ReLU", "Dropout") else name  # in place
        lines.append(f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{top}" {options} }}')
        bottom = top
    return "\n".join(lines)


POOL = "pool: MAX kernel_size: 2 stride: 2"


def plain(network, input_shape, convolutions, pool=POOL, *, channels_first=False):
    """Text and layers of a torch network: its convolutions with their padding, and whether pooling follows.

    Caffe's dense layers take images with the channels first; most of ours do not.
    """
    lines, layers = [], []
    channels, *sides = input_shape
    for index, (name, padding, pooled) in enumerate(convolutions):
        module = network.get_submodule(name)
        options = f"num_output: {module.out_channels} kernel_size: {module.kernel_size[0]} pad: {padding}"
        lines += [(name, "Convolution", f"convolution_param {{ {options} }}"), (f"relu_{index}", "ReLU", "")]
        lines += [(f"pool_{index}", "Pooling", f"pooling_param {{ {pool} }}")] if pooled else []
        layers.append(layer(name, "Convolution", [module.weight.detach().numpy(), module.bias.detach().numpy()]))
        channels = module.out_channels
        sides = [(side + 2 * padding - module.kernel_size[0] + 1) // (2 if pooled else 1) for side in sides]
    for index, name in enumerate(name for name in ("fc_1", "output") if hasattr(network, name)):
        module = network.get_submodule(name)
        weight = module.weight.detach()
        if index == 0 and not channels_first:
            weight = weight.unflatten(1, (*sides, channels)).permute(0, 3, 1, 2).flatten(1)
        lines.append((name, "InnerProduct", f"inner_product_param {{ num_output: {module.out_features} }}"))
        lines += [("relu_fc", "ReLU", ""), ("drop", "Dropout", "")] if name == "fc_1" else []
        layers.append(layer(name, "InnerProduct", [weight.numpy(), module.bias.detach().numpy()]))
    lines.append(("prob", "Softmax", ""))
    return text_of(lines, input_shape), layers
