"""Convert weights of SRResNet, SRGAN and MSRResNet from PyTorch and Keras."""

import numpy as np

from common.weights.source import keras_layers, torch_batch_norm, torch_conv

EXPECTS = {"torch": "an MSRResNet of BasicSR or mmagic, or the generator of leftthomas' SRGAN "
                    "since 2019",
           "keras": "the generator of Keras-SRGAN, gen_model*.h5"}

# The zoo's layers of an MSRResNet -> keys in mmagic, in BasicSR and in its predecessor.
_MSRRESNET = [
    {"first": "trunk_net.0.conv1", "conv": "trunk_net.{i}.conv{k}", "hr_conv": "conv_hr",
     "upsample": "upsample{j}.upsample_conv"},
    {"first": "body.0.conv1", "conv": "body.{i}.conv{k}", "hr_conv": "conv_hr",
     "upsample": "upconv{j}"},
    {"first": "recon_trunk.0.conv1", "conv": "recon_trunk.{i}.conv{k}", "hr_conv": "HRconv",
     "upsample": "upconv{j}"},
]


def convert(source):
    """Take the arrays of a generator, whose kind its keys or layers show."""
    names = next((names for names in _MSRRESNET if f"{names['first']}.weight" in source), None)
    if source.kind == "keras":
        held, options, arrays = _keras_srgan(source)
    elif names is not None:
        held, options, arrays = _msrresnet(source, names)
    elif "block1.1.weight" in source:
        held, options, arrays = _srresnet(source)
    else:
        raise source.unfit("expected body.0.conv1.weight, trunk_net.0.conv1.weight or "
                           "recon_trunk.0.conv1.weight (MSRResNet) or block1.1.weight (SRGAN), "
                           f"found {source.names()}")
    source.finish()
    return held, {**options, "num_filters": len(arrays["head"][1])}, arrays


def _msrresnet(source, names):
    num_blocks = source.count(names["conv"].format(i="{}", k=1) + ".weight")
    arrays = {"head": torch_conv(source, "conv_first")}
    for i in range(num_blocks):
        for k in (1, 2):
            arrays[f"block{i}_conv{k}"] = torch_conv(source, names["conv"].format(i=i, k=k))
    held, stage = 1, 0
    while f"{names['upsample'].format(j=stage + 1)}.bias" in source:
        name = names["upsample"].format(j=stage + 1)
        block = max(1, round((len(source.arrays[f"{name}.bias"]) / len(arrays["head"][1])) ** 0.5))
        arrays[f"upsample{stage}_conv"] = torch_conv(source, name, block)
        held, stage = held * block, stage + 1
    arrays["hr_conv"] = torch_conv(source, names["hr_conv"])
    arrays["tail"] = torch_conv(source, "conv_last")
    return held, {"variant": "msrresnet", "num_blocks": num_blocks}, arrays


def _srresnet(source):
    """The zoo's variant srresnet: LR images in [0, 1], output (tanh + 1) / 2."""
    def prelu(name):
        alpha = source.take(f"{name}.weight")
        if alpha.shape not in ((1,), (num_filters,)):
            raise source.unfit(f"{name} has an array of shape {alpha.shape}")
        return [np.broadcast_to(alpha, (1, 1, num_filters)).copy()]

    arrays = {"head": torch_conv(source, "block1.0")}
    num_filters = len(arrays["head"][1])
    arrays["head_prelu"] = prelu("block1.1")
    num_blocks = 0
    while f"block{num_blocks + 2}.conv1.weight" in source:
        name, block = f"block{num_blocks + 2}", f"block{num_blocks}"
        for k in (1, 2):
            arrays[f"{block}_conv{k}"] = torch_conv(source, f"{name}.conv{k}")
            arrays[f"{block}_bn{k}"] = torch_batch_norm(source, f"{name}.bn{k}")
        arrays[f"{block}_prelu"] = prelu(f"{name}.prelu")
        num_blocks += 1
    body, last = f"block{num_blocks + 2}", f"block{num_blocks + 3}"
    if f"{body}.1.bias" not in source:
        raise source.unfit(f"{body} does not end in batch normalisation as in the paper; before "
                           "May 2019 that program had a PReLU there")
    arrays["body"] = torch_conv(source, f"{body}.0")
    arrays["body_bn"] = torch_batch_norm(source, f"{body}.1")
    stages = source.count(last + ".{}.conv.weight")
    for i in range(stages):
        arrays[f"upsample{i}_conv"] = torch_conv(source, f"{last}.{i}.conv", 2)
        arrays[f"upsample{i}_prelu"] = prelu(f"{last}.{i}.prelu")
    arrays["tail"] = torch_conv(source, f"{last}.{stages}")
    return 2**stages, {"variant": "srresnet", "num_blocks": num_blocks}, arrays


def _keras_srgan(source):
    layers = keras_layers(source, "conv", "norm", "prelu")
    counts = tuple(map(len, layers))
    num_blocks = counts[2] - 1
    stages = counts[0] - 2 * num_blocks - 3
    if num_blocks < 0 or stages < 1 or counts[1] != 2 * num_blocks + 1:
        raise source.unfit("it has {} convolutions, {} batch normalisations and {} PReLU; expected "
                           "37, 33 and 17 at x4".format(*counts))
    convs, norms, prelus = map(iter, layers)
    arrays = {"head": next(convs), "head_prelu": next(prelus)}
    for i in range(num_blocks):
        for k in (1, 2):
            arrays[f"block{i}_conv{k}"], arrays[f"block{i}_bn{k}"] = next(convs), next(norms)
        arrays[f"block{i}_prelu"] = next(prelus)
    arrays["body"], arrays["body_bn"] = next(convs), next(norms)
    for i in range(stages):
        arrays[f"upsample{i}_conv"] = next(convs)
    arrays["tail"] = next(convs)
    return 2**stages, {"variant": "keras", "num_blocks": num_blocks}, arrays
