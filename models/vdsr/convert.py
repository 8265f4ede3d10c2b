"""Convert the authors' MATLAB weights of VDSR."""

EXPECTS = {"matlab": "VDSR_Official.mat with model.weight and model.bias"}


def convert(source):
    """Take the arrays of `VDSR_Official.mat`, which serve every scale (luma in [0, 1])."""
    count = source.count("model.weight.{}")
    if not count:
        raise source.unfit(f"expected model.weight and model.bias, found {source.names()}")
    arrays, channels = [], 1
    for i in range(count):
        kernel, bias = source.take(f"model.weight.{i}"), source.take(f"model.bias.{i}")
        kernel = kernel.reshape(kernel.shape + (1,) * (4 - kernel.ndim))  # lacks a last 1
        if kernel.shape[:3] != (3, 3, channels) or bias.size != kernel.shape[3]:
            raise source.unfit(f"model.weight.{i} has shape {kernel.shape}")
        arrays += [kernel, bias.ravel()]
        channels = kernel.shape[3]
    if channels != 1:
        raise source.unfit(f"its last layer has {channels} output channels, not 1 (luma)")
    source.finish()
    options = {"num_layers": count, "num_filters": arrays[0].shape[3]}
    return (2, 3, 4), options, {"luma_network": arrays}
