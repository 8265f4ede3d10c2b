"""VGG19 features (arXiv 1409.1556) for perceptual losses."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from common.cli import UserError, one_line
from common.nn.keras_compat import Tensor, keras
from common.nn.layers import ShiftScale
from common.weights import source as foreign_weights

layers = keras.layers

BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))  # features, convolutions
LAYERS = tuple(f"conv{block}_{i}" for block, (_, count) in enumerate(BLOCKS, 1)
               for i in range(1, count + 1))
IMAGENET_MEAN = [123.68, 116.779, 103.939]  # red, green, blue

FILE = "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"
URL = "https://storage.googleapis.com/tensorflow/keras-applications/vgg19/" + FILE
MD5 = "253f8cb515780f3b799900260a226db6"
MODELZOO_PLACE = Path("h5") / FILE


class VggFeatures:
    """Frozen VGG19 features of RGB images.

    Args:
        weights: path of `vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5`; None: see
            `find_weights`.
        layer_names: e.g. ("conv5_4",) or ("conv2_2", "conv5_4").
        before_relu: take the convolutions' outputs before the ReLU, like ESRGAN (arXiv 1809.00219).
        scale: factor of all features. SRGAN's 1/12.75 brings them to the range of the images
            (arXiv 1609.04802). For a program whose VGG19 sees images in [-1, 1], 1/127.5 gives
            about its features; exactly, if the network were linear.

    Raises:
        UserError: an unknown layer, no weights, or a file of another network.
    """

    def __init__(self, weights: str | os.PathLike | None = None,
                 layer_names: Sequence[str] = ("conv5_4",), before_relu: bool = True,
                 scale: float = 1 / 12.75):
        unknown = [name for name in layer_names if name not in LAYERS]
        if unknown or not layer_names:
            raise UserError(f"no VGG19 layer {', '.join(unknown) or 'named'}; it has "
                            f"{', '.join(LAYERS)}")
        path = find_weights(weights)
        self.model = build(layer_names, before_relu, scale)
        load(self.model, path)

    def __call__(self, images: Tensor) -> list[Tensor]:
        """The float32 feature maps of RGB images (N, H, W, 3) in [0, 255]."""
        features = self.model(images, training=False)
        return list(features) if isinstance(features, (list, tuple)) else [features]


def build(layer_names: Sequence[str], before_relu: bool = True, scale: float = 1.0) -> keras.Model:
    """Build VGG19 up to the deepest of some layers, with random weights that do not learn.

    Returns:
        a Keras model: RGB float32 (N, H, W, 3) in [0, 255] to one float32 feature map per name, at
        1, 1/2, ... 1/16 of the size, times `scale`.
    """
    image = keras.Input((None, None, 3), name="image")
    x = ShiftScale([-mean for mean in IMAGENET_MEAN], name="subtract_mean")(image)
    deepest, features = max(map(LAYERS.index, layer_names)), {}
    for block, (filters, count) in enumerate(BLOCKS, 1):
        for i in range(1, count + 1):
            name = f"conv{block}_{i}"
            if LAYERS.index(name) > deepest:
                break
            y = layers.Conv2D(filters, 3, padding="same", name=f"block{block}_conv{i}")(x)
            x = layers.ReLU(name=f"block{block}_relu{i}")(y)
            features[name] = y if before_relu else x
        if LAYERS.index(f"conv{block}_{count}") >= deepest:
            break
        x = layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
    outputs = [ShiftScale(0.0, scale, name=name)(features[name]) for name in layer_names]
    model = keras.Model(image, outputs, name="vgg19")
    model.trainable = False
    return model


def load(model: keras.Model, path: str | os.PathLike) -> None:
    """Load Keras's VGG19 file, with or without its dense layers, into a model from `build`.

    Raises:
        UserError: the file holds something else; it says what.
    """
    source = foreign_weights.read(path, {"keras": "VGG19 as Keras publishes it"}, "VGG19")
    for layer in model.layers:
        if not layer.weights:
            continue
        arrays = [source.take(f"{layer.name}/{i}") for i in range(2)]
        shapes = [tuple(weight.shape) for weight in layer.weights]
        if [array.shape for array in arrays] != shapes:
            raise source.unfit(f"{layer.name} has arrays of {[a.shape for a in arrays]}, not of "
                               f"{shapes}")
        if layer.name == "block1_conv1":  # the file has it for blue, green, red
            arrays[0] = arrays[0][:, :, ::-1]
        layer.set_weights(arrays)


def find_weights(path: str | os.PathLike | None = None) -> Path:
    """Find the VGG19 weight file: `path`, else in `h5/` here or in the repository, else download.

    Keras keeps its download in `~/.keras/models`.

    Raises:
        UserError: there is none; it says which file to put where.
    """
    if path is not None:
        if not Path(path).is_file():
            raise UserError(f"no VGG19 weights at {path}; correct --vgg_weights")
        return Path(path)
    for folder in (Path(), Path(__file__).resolve().parents[2]):
        if (folder / MODELZOO_PLACE).is_file():
            return folder / MODELZOO_PLACE
    try:
        return Path(keras.utils.get_file(FILE, URL, cache_subdir="models", file_hash=MD5))
    except Exception as error:  # its errors are of many kinds
        raise UserError(f"no VGG19 weights: {MODELZOO_PLACE} is not here and {URL} could not be "
                        f"fetched ({one_line(error)[:80]}); put that file into h5/ or name it "
                        "with --vgg_weights, or train without it: --perceptual_weight 0"
                        ) from error
