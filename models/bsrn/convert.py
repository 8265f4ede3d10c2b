"""Convert the authors' TensorFlow 1 checkpoints of BSRN."""

EXPECTS = {"tf_checkpoint": "with variables generator/first_conv/conv2d/kernel, ..."}
# A checkpoint does not contain how often the module is applied.
OPTIONS = {"num_recursions": (int, "recursions; default: 16"),
           "output_every": (int, "recursions between two outputs; default: 1")}


def convert(source):
    """Take the variables of the published TensorFlow 1 graph; see `models.convert`."""
    held = tuple(s for s in (2, 3, 4) if f"generator/last_conv/x{s}/conv2d/kernel" in source)
    if not held:
        raise source.unfit(f"expected generator/last_conv/x2/conv2d/kernel, found {source.names()}")
    names = {"first_conv": "first_conv/conv2d", "module_conv1": "residual_modules/conv2d",
             "module_conv2": "residual_modules/conv2d_1",
             "module_conv3": "residual_modules/conv2d_2"}
    for s in held:
        names[f"upscale_x{s}_conv1"] = f"upscale/x{s}/conv2d"
        names[f"last_conv_x{s}"] = f"last_conv/x{s}/conv2d"
    if 4 in held:
        names["upscale_x4_conv2"] = "upscale/x4/conv2d_1"
    arrays = {layer: [source.take(f"generator/{name}/{part}") for part in ("kernel", "bias")]
              for layer, name in names.items()}
    source.finish()
    num_features = len(arrays["first_conv"][1])
    options = {"num_features": num_features,
               "num_states": len(arrays["module_conv1"][1]) - num_features}
    return held if len(held) > 1 else held[0], options, arrays
