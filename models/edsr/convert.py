"""Convert PyTorch weights of EDSR-PyTorch and BasicSR."""

import numpy as np

from common.weights.source import torch_conv

EXPECTS = {"torch": "an EDSR of EDSR-PyTorch or BasicSR"}
OPTIONS = {"res_scale": (float, "factor of the residuals; default: 0.1 at 256 channels, else 1")}

MEAN = np.array([0.4488, 0.4371, 0.4040]) * 255

# The zoo's layers -> the keys of EDSR-PyTorch and of BasicSR, for block i and the last block n.
_NAMES = [
    {"head": "head.0", "conv1": "body.{i}.body.0", "conv2": "body.{i}.body.2", "body": "body.{n}",
     "upsample": "tail.0.{j}", "tail": "tail.1"},
    {"head": "conv_first", "conv1": "body.{i}.conv1", "conv2": "body.{i}.conv2",
     "body": "conv_after_body", "upsample": "upsample.{j}", "tail": "conv_last"},
]


def convert(source):
    """Take a PyTorch EDSR's arrays; both programs' images are 0..255 minus DIV2K's mean."""
    names = next((names for names in _NAMES if f"{names['head']}.weight" in source), None)
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
    while f"{names['upsample'].format(j=2 * stage)}.weight" in source:
        name = names["upsample"].format(j=2 * stage)
        block = max(1, round((len(source.arrays[f"{name}.weight"]) / num_filters) ** 0.5))
        arrays[f"upsample{stage}_conv"] = torch_conv(source, name, block)
        held, stage = held * block, stage + 1
    arrays["tail"] = torch_conv(source, names["tail"])
    source.finish()
    options = {"num_blocks": num_blocks, "num_filters": num_filters,
               "res_scale": 0.1 if num_filters == 256 else 1}
    return held, options, arrays


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
