"""Convert SRCNN weights in Keras `.h5` files."""

EXPECTS = {"keras": "three Conv2D layers on luma in [0, 1], as 9-1-5 or 9-5-5"}


def convert(source):
    """Take the three convolutions of a Keras model, recognised by their shapes alone.

    The file does not contain the scale.
    """
    pairs, names = [], list(source.arrays)
    for kernel, bias in zip(names, names[1:]):
        if source.arrays[kernel].ndim == 4 and source.arrays[bias].ndim == 1:
            pairs.append([source.arrays[kernel], source.arrays[bias]])
    shapes = [kernel.shape for kernel, _ in pairs]
    if len(pairs) != 3 or len(names) != 6:
        raise source.unfit(f"it has {len(pairs)} convolutions with a bias and {len(names)} arrays, "
                           "not 3 and 6")
    first, last = ([pair for pair in pairs if pair[0].shape[axis] == 1] for axis in (2, 3))
    middle = [pair for pair in pairs if 1 not in pair[0].shape[2:]]
    ordered = [*first, *middle, *last]
    if len(ordered) != 3 or any(a.shape[3] != b.shape[2] or a.shape[0] != a.shape[1]
                                for (a, _), (b, _) in zip(ordered, ordered[1:])):
        raise source.unfit(f"its kernels of shape {', '.join(map(str, shapes))} do not lead from "
                           "luma to luma")
    kernels = [kernel for kernel, _ in ordered]
    options = {"kernels": tuple(kernel.shape[0] for kernel in kernels),
               "num_filters": tuple(kernel.shape[3] for kernel in kernels[:2])}
    return None, options, {"luma_network": [array for pair in ordered for array in pair]}
