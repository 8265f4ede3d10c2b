"""Convert RRDBNet weights of PyTorch (ESRGAN, BasicSR) and PaddleGAN."""

from common.weights.source import torch_conv

EXPECTS = {"torch": "an RRDBNet of ESRGAN, Real-ESRGAN or BasicSR",
           "paddle": "PaddleGAN's ESRGAN, .pdparams",
           "ncnn": "an RRDBNet of Real-ESRGAN or RealSR, .param and .bin"}

# The zoo's layers -> keys in BasicSR, in the newer ESRGAN and PaddleGAN, and in the older ESRGAN
# (whose prefix "model." the reader removes); i, j, k count as in the zoo, n is the block count.
_NAMES = [
    {"head": "conv_first", "dense": "body.{i}.rdb{j}.conv{k}", "body": "conv_body",
     "upsample0_conv": "conv_up1", "upsample1_conv": "conv_up2", "hr_conv": "conv_hr",
     "tail": "conv_last"},
    {"head": "conv_first", "dense": "RRDB_trunk.{i}.RDB{j}.conv{k}", "body": "trunk_conv",
     "upsample0_conv": "upconv1", "upsample1_conv": "upconv2", "hr_conv": "HRconv",
     "tail": "conv_last"},
    {"head": "0", "dense": "1.sub.{i}.RDB{j}.conv{k}.0", "body": "1.sub.{n}",
     "upsample0_conv": "3", "upsample1_conv": "6", "hr_conv": "8", "tail": "10"},
]
_SCALES = {3: 4, 12: 2, 48: 1}  # channels of the pixel-unshuffled input -> scale


def convert(source):
    """Take the arrays of an RRDBNet; all these programs feed images in [0, 1], as the zoo does."""
    if source.kind == "ncnn":
        _name_ncnn(source)
    names = next((names for names in _NAMES
                  if names["dense"].format(i=0, j=1, k=1) + ".weight" in source), None)
    if names is None:
        raise source.unfit("expected body.0.rdb1.conv1.weight, RRDB_trunk.0.RDB1.conv1.weight or "
                           f"model.1.sub.0.RDB1.conv1.0.weight, found {source.names()}")
    if f"{names['upsample1_conv']}.weight" not in source:
        raise source.unfit("it does not enlarge in two steps, as RRDBNet does at every scale")
    num_blocks = source.count(names["dense"].format(i="{}", j=1, k=1) + ".weight")
    head = source.arrays.get(f"{names['head']}.weight")
    channels = head.shape[1] if head is not None and head.ndim == 4 else 3  # else reported below
    if channels not in _SCALES:
        raise source.unfit(f"its first layer has {channels} input channels; expected 3 (x4), "
                           "12 (x2) or 48 (x1)")
    held = _SCALES[channels]
    arrays = {"head": torch_conv(source, names["head"], unshuffle=4 // held)}
    for i in range(num_blocks):
        for j in range(1, 4):
            for k in range(1, 6):
                name = names["dense"].format(i=i, j=j, k=k)
                arrays[f"block{i}_dense{j}_conv{k}"] = torch_conv(source, name)
    for layer in ("body", "upsample0_conv", "upsample1_conv", "hr_conv", "tail"):
        arrays[layer] = torch_conv(source, names[layer].format(n=num_blocks))
    source.finish()
    options = {"num_blocks": num_blocks, "num_filters": len(arrays["head"][1]),
               "num_growth": len(arrays["block0_dense1_conv1"][1])}
    return held, options, arrays


def _name_ncnn(source):
    """Name the numbered convolutions of an ncnn network as BasicSR does."""
    if any(name.startswith("prelu") for name in source.arrays):
        raise source.unfit("it has PReLU layers, as the compact networks of Real-ESRGAN's video "
                           "and general models do; the zoo has no such model")
    count = source.count("conv{}.weight")
    num_blocks, rest = divmod(count - 6, 15)
    if rest or num_blocks < 1:
        raise source.unfit(f"it has {count} convolutions; an RRDBNet has 6 and 15 for each block")
    dense = [f"body.{i}.rdb{j}.conv{k}" for i in range(num_blocks) for j in range(1, 4)
             for k in range(1, 6)]
    names = ["conv_first", *dense, "conv_body", "conv_up1", "conv_up2", "conv_hr", "conv_last"]
    for i, name in enumerate(names):
        for part in ("weight", "bias"):
            source.arrays[f"{name}.{part}"] = source.take(f"conv{i}.{part}")
