"""Convert weights of EDSR-PyTorch, BasicSR, mmagic and krasserm's super-resolution."""

import re

import numpy as np

from common.weights.source import torch_conv

EXPECTS = {"torch": "an EDSR of EDSR-PyTorch, BasicSR or mmagic",
           "keras": "an EDSR of krasserm's super-resolution, weights.h5"}
OPTIONS = {"res_scale": (float, "factor of the residuals; default: 0.1 at 256 channels, else 1")}

MEAN = np.array([0.4488, 0.4371, 0.4040]) * 255

# The zoo's layers -> the keys of EDSR-PyTorch, BasicSR and mmagic, for block i, the last block n
# and the stage s of the enlargement; j is 2 * s.
_NAMES = [
    {"head": "head.0", "conv1": "body.{i}.body.0", "conv2": "body.{i}.body.2", "body": "body.{n}",
     "upsample": "tail.0.{j}", "tail": "tail.1"},
    {"head": "conv_first", "conv1": "body.{i}.conv1", "conv2": "body.{i}.conv2",
     "body": "conv_after_body", "upsample": "upsample.{j}", "tail": "conv_last"},
]
_MMAGIC = {**_NAMES[1], "upsample": "upsample.{s}.upsample_conv"}


def convert(source):
    """Take an EDSR's arrays; the programs' images are 0..255, mmagic's 0..1, minus DIV2K's mean."""
    if source.kind == "keras":
        return _krasserm(source)
    mmagic = f"{_MMAGIC['upsample'].format(s=0)}.weight" in source
    names = _MMAGIC if mmagic else next(
        (names for names in _NAMES if f"{names['head']}.weight" in source), None)
    if names is None:
        raise source.unfit(f"expected head.0.weight or conv_first.weight, found {source.names()}")
    _take_mean_shifts(source)
    num_blocks = source.count(names["conv1"].format(i="{}") + ".weight")
    arrays = {"head": torch_conv(source, names["head"]),
              "body": torch_conv(source, names["body"].format(n=num_blocks))}
    num_filters = len(arrays["head"][1])
    for i in range(num_blocks):
        for part in ("conv1", "conv2"):
            arrays[f"block{i}_{part}"] = torch_conv(source, names[part].format(i=i))
    held, stage = 1, 0
    while f"{names['upsample'].format(j=2 * stage, s=stage)}.weight" in source:
        name = names["upsample"].format(j=2 * stage, s=stage)
        block = max(1, round((len(source.arrays[f"{name}.weight"]) / num_filters) ** 0.5))
        arrays[f"upsample{stage}_conv"] = torch_conv(source, name, block)
        held, stage = held * block, stage + 1
    arrays["tail"] = torch_conv(source, names["tail"])
    source.finish()
    if mmagic:
        arrays["head"][0] = arrays["head"][0] / 255
        arrays["tail"] = [array * 255 for array in arrays["tail"]]
    return held, _options(num_blocks, num_filters), arrays


def _options(num_blocks, num_filters):
    return {"num_blocks": num_blocks, "num_filters": num_filters,
            "res_scale": 0.1 if num_filters == 256 else 1}


def _krasserm(source):
    """Its layers are only numbered, but for those that enlarge; it divides images by 127.5."""
    numbered, enlarging = {}, {}
    for layer in sorted({name.rpartition("/")[0] for name in source.arrays}):
        stage = re.fullmatch(r"conv2d_(\d)_scale_(\d)", layer)
        number = re.fullmatch(r"conv2d(?:_(\d+))?", layer)
        if not (stage or number):
            raise source.unfit(f"layer {layer} is not one of its convolutions")
        arrays = [source.take(f"{layer}/{i}") for i in range(2)]
        if stage:
            enlarging[int(stage.group(1))] = arrays, int(stage.group(2))
        else:
            numbered[int(number.group(1) or 0)] = arrays
    source.finish()
    if len(numbered) < 5 or len(numbered) % 2 == 0 or not enlarging:
        raise source.unfit(f"it has {len(numbered)} numbered convolutions and {len(enlarging)} "
                           "that enlarge")
    head, *blocks, body, tail = (numbered[number] for number in sorted(numbered))
    arrays = {"head": [head[0] / 127.5, head[1]], "body": body,
              "tail": [array * 127.5 for array in tail]}
    for i, conv in enumerate(blocks):
        arrays[f"block{i // 2}_conv{i % 2 + 1}"] = conv
    held = 1
    for number, (conv, factor) in sorted(enlarging.items()):
        arrays[f"upsample{number - 1}_conv"] = conv
        held *= factor
    return held, _options(len(blocks) // 2, len(head[1])), arrays


def _take_mean_shifts(source):
    """Check and drop EDSR-PyTorch's 1x1 convolutions for the mean, which the zoo has built in."""
    for name, sign in (("sub_mean", -1), ("add_mean", 1)):
        if f"{name}.weight" not in source:
            continue
        weight, bias = source.take(f"{name}.weight"), source.take(f"{name}.bias")
        same = weight.shape == (3, 3, 1, 1) and np.allclose(weight[..., 0, 0], np.eye(3), atol=1e-4)
        if not same or not np.allclose(bias, sign * MEAN, atol=0.01):
            raise source.unfit(f"{name} shifts by {bias.round(2).tolist()}, not by DIV2K's mean "
                               "in 0..255")
