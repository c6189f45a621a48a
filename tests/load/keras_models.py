"""Small models made with Keras itself, with weights drawn so that every one of them counts."""

import numpy as np

from gifthorse.load.keras_runtime import keras_module

keras = keras_module()
L = keras.layers


def drawn(model, seed=0):
    """The model with other weights: variances positive, the rest such that answers are around 1."""
    generator = np.random.default_rng(seed)
    for weight in model.weights:
        fan = int(np.prod(weight.shape[:-1])) or 1
        values = generator.normal(0, 1, weight.shape) / max(fan, 1) ** 0.5
        if weight.name in ("moving_variance", "variance", "gamma"):
            values = generator.uniform(0.5, 1.5, weight.shape)
        if "count" not in weight.name:
            weight.assign(values)
    return model


def every_layer():
    """As many kinds of layers as go into one model, on images of odd sizes, and models in models."""
    inner = keras.Sequential([L.Conv2D(4, 3, name="c"), L.BatchNormalization(name="b"), L.Dropout(0.5)], name="inner")
    inside = keras.Input((None, None, 4))
    twice = keras.Model(inside, L.Conv2D(4, 3, padding="same", name="c")(inside), name="twice")
    images = keras.Input((21, 18, 3), name="images")
    x = L.Rescaling([0.5, 1.0, 2.0], offset=-0.1)(images)
    x = L.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 0.5])(x)
    x = L.Conv2D(4, 3, strides=2, padding="same", activation="relu", kernel_regularizer="l2", name="type")(x)
    x = twice(twice(x))
    x = inner(x)
    x = L.Conv2D(8, 3, dilation_rate=2, padding="same", groups=2, use_bias=False)(x)
    x = L.DepthwiseConv2D((3, 2), strides=1, depth_multiplier=2, padding="same")(x)
    x = L.LeakyReLU(0.1)(x)
    x = L.SeparableConv2D(6, (4, 3), padding="same", activation="swish")(x)
    y = L.MaxPooling2D(3, strides=2, padding="same")(x)
    z = L.AveragePooling2D(3, strides=2, padding="same")(x)
    x = L.Concatenate()([y, z])
    x = L.PReLU(shared_axes=[1, 2])(x)
    x = L.PReLU()(x)
    x = L.ZeroPadding2D(((1, 2), (0, 1)))(x)
    x = L.Cropping2D(((0, 1), (1, 0)))(x)
    x = L.UpSampling2D((2, 3))(x)
    x = L.UpSampling2D(2, interpolation="bilinear")(x)
    x = L.AveragePooling2D(2)(x)
    x = L.BatchNormalization(scale=False)(x)
    x = L.BatchNormalization(center=False)(x)
    x = L.GroupNormalization(4)(x)
    x = L.LayerNormalization()(x)
    x = L.Dense(6, activation="hard_sigmoid")(x)
    x = L.ELU(0.5)(x)
    squeeze = L.GlobalAveragePooling2D(keepdims=True)(x)
    squeeze = L.ReLU(6.0)(L.Conv2D(6, 1)(squeeze) + 3.0) * (1 / 6)
    x = L.Multiply()([x, squeeze])
    x = L.Add()([x, L.Activation("tanh")(x)])
    x = 0.5 - x / 2.0
    x = L.Subtract()([x, L.ReLU(negative_slope=0.2, threshold=0.1)(x)])
    x = L.Maximum()([L.Average()([x, squeeze]), squeeze])
    x = L.Permute((2, 1, 3))(x)
    flat = L.GlobalMaxPooling2D()(x)
    x = L.Reshape((-1, 6))(x)
    x = L.BatchNormalization()(x)
    x = L.GlobalAveragePooling1D()(x)
    x = L.Concatenate()([x, flat, L.Softmax()(flat)])
    x = L.Flatten()(x)
    x = L.Dense(7, name="output")(x)
    return drawn(keras.Model(images, x))


def channels_first():
    """A model whose layers have the channels first, and whose Flatten does and does not."""
    images = keras.Input((2, 9, 8))
    x = L.Conv2D(4, 3, strides=2, padding="same", data_format="channels_first")(images)
    x = L.BatchNormalization(axis=1)(x)
    x = L.MaxPooling2D(2, data_format="channels_first")(x)
    x = L.Concatenate()([L.Flatten(data_format="channels_first")(x), L.Flatten(data_format="channels_last")(x)])
    return drawn(keras.Model(images, L.Dense(3)(x)))


def resnet(width=8, blocks=(2, 2, 2, 2)):
    """ResNet-18 with fewer channels; strides of 2 with ``same``, which pads more after than before."""
    images = keras.Input((32, 32, 3))
    x = L.Conv2D(width, 7, strides=2, padding="same", use_bias=False)(images)
    x = L.ReLU()(L.BatchNormalization()(x))
    x = L.MaxPooling2D(3, strides=2, padding="same")(x)
    for stage, count in enumerate(blocks):
        filters = width * 2**stage
        for block in range(count):
            strides = 2 if stage and not block else 1
            y = L.Conv2D(filters, 3, strides=strides, padding="same", use_bias=False)(x)
            y = L.Activation("relu")(L.BatchNormalization(epsilon=1e-5)(y))
            y = L.BatchNormalization()(L.Conv2D(filters, 3, padding="same", use_bias=False)(y))
            if strides == 2:
                x = L.BatchNormalization()(L.Conv2D(filters, 1, strides=2, use_bias=False)(x))
            x = L.ReLU()(L.Add()([x, y]))
    return drawn(keras.Model(images, L.Dense(10, activation="softmax")(L.GlobalAveragePooling2D()(x))))


def mobilenet():
    """Blocks of MobileNetV3: depthwise with explicit padding, squeeze and excite, hard swish, by single operations."""

    def hard_sigmoid(x):
        return L.ReLU(6.0)(x + 3.0) * (1.0 / 6.0)

    images = keras.Input((None, None, 3))
    x = L.Rescaling(1 / 127.5, offset=-1.0)(images)
    x = L.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(x)
    x = L.BatchNormalization(momentum=0.999)(x)
    x = L.Multiply()([x, hard_sigmoid(x)])
    for strides, filters in ((2, 12), (1, 12)):
        y = L.Conv2D(24, 1, use_bias=False)(x)
        y = L.Activation("hard_silu")(L.BatchNormalization()(y))
        if strides == 2:
            y = L.ZeroPadding2D(((0, 1), (0, 1)))(y)
        y = L.DepthwiseConv2D(3, strides=strides, padding="valid" if strides == 2 else "same", use_bias=False)(y)
        y = L.BatchNormalization()(y)
        squeeze = L.Conv2D(6, 1, activation="relu")(L.GlobalAveragePooling2D(keepdims=True)(y))
        y = L.Multiply()([y, hard_sigmoid(L.Conv2D(24, 1)(squeeze))])
        y = L.BatchNormalization()(L.Conv2D(filters, 1, use_bias=False)(y))
        x = y if strides == 2 else L.Add()([x, y])
    x = L.Conv2D(10, 1)(L.GlobalAveragePooling2D(keepdims=True)(x))
    return drawn(keras.Model(images, L.Flatten()(x)))


def transformer():
    """A small ViT without positions, which Keras has no layer for."""
    images = keras.Input((16, 16, 3))
    x = L.Reshape((16, 12))(L.Conv2D(12, 4, strides=4)(images))
    for _ in range(2):
        y = L.LayerNormalization(epsilon=1e-6)(x)
        x = L.Add()([x, L.MultiHeadAttention(3, 4, value_dim=5, dropout=0.1)(y, y)])
        y = L.Dense(24, activation="gelu")(L.LayerNormalization(epsilon=1e-6)(x))
        x = L.Add()([x, L.Dense(12)(y)])
    x = L.GlobalAveragePooling1D()(L.LayerNormalization(epsilon=1e-6)(x))
    return drawn(keras.Model(images, L.Dense(10)(x)))


def augmented():
    """What Keras' tutorials put in front: augmentation in a model of its own, then images are resized and rescaled."""
    flips = [L.RandomFlip("horizontal"), L.RandomRotation(0.1), L.RandomZoom(0.2), L.RandomHue(0.1), L.RandAugment()]
    layers = [
        keras.Input((None, None, 3)),
        keras.Sequential(flips, name="augmentation"),
        L.Resizing(24, 18),
        L.RandomContrast(0.2),
        L.Rescaling(1 / 255),
        L.Conv2D(8, 3, activation="relu"),
        L.Resizing(9, 20, interpolation="nearest"),
        L.MaxPooling2D(),
        L.Flatten(),
        L.Dense(5),
    ]
    return drawn(keras.Sequential(layers))


def transferred():
    """As for transfer learning: the preprocessing of a network inside the model, and activations without a layer."""
    images = keras.Input((20, 18, 3))
    x = keras.applications.mobilenet_v2.preprocess_input(L.RandomFlip()(images))
    x = keras.activations.relu(L.Conv2D(6, 3)(x))
    for activation in ("silu", "tanh", "sigmoid", "hard_silu", "softplus", "leaky_relu"):
        x = getattr(keras.ops, activation)(L.Conv2D(6, 3)(x))
    x = keras.activations.gelu(L.GlobalAveragePooling2D()(x))
    return drawn(keras.Model(images, keras.ops.softmax(L.Dense(5)(x))))


def prepared():
    """With the preprocessing of VGG and ResNet50 in it: from RGB to BGR, less the means of the channels."""
    images = keras.Input((12, 10, 3))
    x = L.RandomFlip()(keras.applications.resnet50.preprocess_input(images)) / 64
    x = L.MaxPooling2D()(L.Conv2D(6, 3, activation="relu")(x))
    return drawn(keras.Model(images, L.Dense(5)(L.Flatten()(x))))


def standardised():
    """With that of DenseNet: means and spreads of the channels, of pixels from 0 to 1; and numbers of a dense layer."""
    images = keras.Input((12, 10, 3))
    x = L.Conv2D(4, 3, activation="tanh")(keras.applications.densenet.preprocess_input(images))
    x = keras.ops.subtract(np.float32([1, 2, 3, 4]), L.GlobalAveragePooling2D()(x) * np.float32([4, 3, 2, 1]))
    return drawn(keras.Model(images, L.Dense(5)(x)))


def computed():
    """With dimensions that are reduced, turned and joined by single operations."""
    images = keras.Input((10, 9, 3))
    x = keras.ops.gelu(L.Conv2D(6, 3)(images))
    y = keras.ops.gelu(x, approximate=False)
    rows = keras.ops.max(keras.ops.transpose(y, (0, 2, 1, 3)), axis=1)  # images lose a dimension, and are tokens
    columns = keras.ops.mean(x, axis=-2, keepdims=True)
    columns = L.Multiply()([x, columns])
    everything = [keras.ops.mean(columns, axis=(1, 2)), keras.ops.max(y, axis=[2, 1]), keras.ops.mean(rows, axis=1)]
    return drawn(keras.Model(images, L.Dense(5)(keras.ops.concatenate(everything, axis=-1))))


def scaled():
    """Blocks of ConvNeXt and InceptionResNetV2, whose layers Keras has for them alone, on images and on tokens."""
    convnext = keras.src.applications.convnext
    images = keras.Input((12, 10, 3))
    x = L.Conv2D(6, 2, strides=2)(images)
    y = L.LayerNormalization()(L.DepthwiseConv2D(3, padding="same")(x))
    y = convnext.LayerScale(1e-6, 6)(L.Dense(6, activation="gelu")(y))
    x = L.Add()([x, convnext.StochasticDepth(0.2)(y)])
    y = L.Conv2D(6, 1)(x)
    x = keras.src.applications.inception_resnet_v2.CustomScaleLayer(0.3)([x, y])
    x = convnext.LayerScale(1e-6, 6)(keras.ops.reshape(x, (-1, 30, 6)))
    x = convnext.LayerScale(1e-6, 6)(L.GlobalAveragePooling1D()(L.Dense(6, activation="tanh")(x)))
    return drawn(keras.Model(images, L.Dense(5)(x)))


def plain(network, input_shape, convolutions, *, channels_first=False):
    """A ``Sequential`` with the weights of a torch network: its convolutions, their padding, whether pooling follows.

    Its dense layers are ``fc_1``, where there is one, and ``output``; most of ours flatten as Keras does.
    """
    channels, *sides = input_shape
    layers = [keras.Input((*sides, channels))]
    for name, padding, pooled in convolutions:
        module = network.get_submodule(name)
        layers.append(L.Conv2D(module.out_channels, module.kernel_size, padding=padding, activation="relu", name=name))
        layers += [L.MaxPooling2D(2)] if pooled else []
    layers.append(L.Flatten())
    if hasattr(network, "fc_1"):
        layers += [L.Dense(network.fc_1.out_features, activation="relu", name="fc_1"), L.Dropout(0.5)]
    layers.append(L.Dense(network.output.out_features, activation="softmax", name="output"))
    model = keras.Sequential(layers)
    for layer in model.layers:
        if layer.weights:
            module = network.get_submodule(layer.name)
            weight = module.weight.detach()
            if channels_first and weight.ndim == 2:
                filters = network.get_submodule(convolutions[-1][0]).out_channels
                side = round((weight.shape[1] / filters) ** 0.5)
                weight = weight.unflatten(1, (filters, side, side)).permute(0, 2, 3, 1).flatten(1)
            kernel = weight.permute(2, 3, 1, 0) if weight.ndim == 4 else weight.T
            layer.set_weights([kernel.numpy(), module.bias.detach().numpy()])
    return model
