"""PaddleGAN's YAML of RRDBNet and ESRGAN as options of the zoo.

Every key is read, checked or refused by its dotted path; the spellings are PaddleGAN's, its
`visiual_interval` included.
"""

import copy
from pathlib import Path

from common.cli import UserError
from models.esrgan.sections import Section

BLOCKS = ("total_iters", "model", "lr_scheduler", "optimizer", "validate", "log_config",
          "snapshot_config", "export_model", "enable_visualdl", "min_max",
          "find_unused_parameters")
LOSSES = {"L1Loss": "l1", "MSELoss": "mse", "CharbonnierLoss": "charbonnier"}
CHARBONNIER_EPS = 1e-6  # under the root of images in [0, 1]: `losses.charbonnier` has 1e-3 squared
DISCRIMINATORS = {"VGGDiscriminator128": "vgg", "UNetDiscriminatorSN": "unet"}
GAN_MODES = {"vanilla": "ragan", "lsgan": "lsgan", "wgan": "wgan_gp", "wgangp": "wgan_gp"}
METRICS = ("PSNR", "SSIM", "LPIPSMetric", "NIQEMetric")
FLIPS = ("PairedRandomHorizontalFlip", "PairedRandomVerticalFlip", "PairedRandomTransposeHW")
STEPS = ("SRPairedRandomCrop", *FLIPS, "Transpose", "Normalize")

# torchvision's numbers of VGG19's layers: a convolution, and its ReLU one further.
_CONVOLUTIONS = {0: "conv1_1", 2: "conv1_2", 5: "conv2_1", 7: "conv2_2", 10: "conv3_1",
                 12: "conv3_2", 14: "conv3_3", 16: "conv3_4", 19: "conv4_1", 21: "conv4_2",
                 23: "conv4_3", 25: "conv4_4", 28: "conv5_1", 30: "conv5_2", 32: "conv5_3",
                 34: "conv5_4"}


def is_paddlegan(values):
    """Whether the content of a YAML file is PaddleGAN's and not flat options of the zoo."""
    return isinstance(values, dict) and (isinstance(values.get("dataset"), dict)
                                         or any(key in values for key in BLOCKS))


def read_options(values):
    """Translate PaddleGAN's YAML.

    Args:
        values: its content.

    Returns:
        {name of an option: value} and a list of lines that the user should see.

    Raises:
        UserError: an unknown key, or values that contradict each other or have no counterpart.
    """
    values, lines = copy.deepcopy(values), []
    _adopt(values, lines)
    top = Section(values)
    options = {"output_dir": top.text("output_dir"), **_length(top)}
    top.fixed("min_max", (0, 1), [0, 1])
    top.truth("find_unused_parameters")
    if top.truth("enable_visualdl"):
        lines.append("enable_visualdl: TensorBoard logs are always written, in <output_dir>/logs")
    for network in top.sections("export_model"):
        network.name("generator")
        network.fixed("inputs_num", 1)
        network.close()
    scales = {}
    parts = (_model(top.section("model"), scales, lines),
             _data(top.section("dataset"), scales),
             _schedule(top.section("lr_scheduler"), options.get("train_steps")),
             _optimizer(top.section("optimizer")),
             _validation(top.section("validate"), lines), _reports(top, "epochs" in options))
    top.close()
    for part in parts:
        options.update(part)
    scale = _agreed(scales)
    if scale is not None:
        options["scale"] = scale
        gt_patch = options.pop("gt_patch")
        if gt_patch % scale:
            raise UserError(f"the gt_patch_size {gt_patch} is not a multiple of the scale {scale}")
        options["patch_size"] = gt_patch // scale
    return {key: value for key, value in options.items() if value is not None}, lines


def _agreed(values):
    """The one value of {path: value}; None without any."""
    first = next(iter(values), None)
    for path, value in values.items():
        if value != values[first]:
            raise UserError(f"{first} {values[first]} and {path} {value} contradict each other")
    return values.get(first)


def _adopt(values, lines):
    """Two keys that the description also shows without the block they belong to."""
    for key, *path in (("batch_size", "dataset", "train"), ("learning_rate", "lr_scheduler")):
        value, block = values.pop(key, None), values
        for name in path:
            if isinstance(block, dict):
                block[name] = block = {} if block.get(name) is None else block[name]
        if value is not None and isinstance(block, dict) and block.setdefault(key, value) != value:
            lines.append(f"{key} {value} is not used: {'.'.join(path)}.{key} is {block[key]}")


def _length(top):
    total, epochs = top.count("total_iters"), top.count("epochs")
    if total and epochs:
        raise UserError("total_iters and epochs exclude each other; give one")
    return {"epochs": epochs} if epochs else {"train_steps": total}


# ---- networks and losses -------------------------------------------------------------------------

def _model(model, scales, lines):
    kind = model.name("BaseSRModel", "ESRGAN")
    generator, pixel = model.section("generator"), model.section("pixel_criterion")
    discriminator = model.section("discriminator")
    perceptual, gan = model.section("perceptual_criterion"), model.section("gan_criterion")
    has = {key: model.holds(key) for key in ("generator", "pixel_criterion", "discriminator",
                                             "perceptual_criterion", "gan_criterion")}
    model.truth("to_static")
    model.fixed("use_init_weight", False)
    model.close().need("name", "generator")
    options = {"stage": "psnr" if kind == "BaseSRModel" else "gan",
               **_generator(generator, scales), **_pixel(pixel, kind, lines)}
    if kind == "BaseSRModel":
        model.need("pixel_criterion")
        for key in ("discriminator", "perceptual_criterion", "gan_criterion"):
            if has[key]:
                raise UserError(f"{model.at(key)} belongs to the model ESRGAN; model.name is "
                                "BaseSRModel")
        return options
    options["pixel_weight"] = options.get("pixel_weight", 1.0) if has["pixel_criterion"] else 0.0
    if has["gan_criterion"] != has["discriminator"]:
        model.need("gan_criterion", "discriminator")
    options["perceptual_weight"] = options["adversarial_weight"] = 0.0
    if has["gan_criterion"]:
        options.update(_discriminator(discriminator, options.get("num_filters")))
        options.update(_gan(gan, lines))
    if has["perceptual_criterion"]:
        options.update(_perceptual(perceptual, lines))
    return options


def _generator(generator, scales):
    generator.name("RRDBNet")
    generator.fixed("in_nc", 3)
    generator.fixed("out_nc", 3)
    options = {"num_filters": generator.count("nf"), "num_blocks": generator.count("nb"),
               "num_growth": generator.count("gc")}
    if generator.holds("scale"):
        scales[generator.at("scale")] = generator.count("scale")
    generator.close().need("name")
    return options


def _discriminator(discriminator, generator_filters):
    kind = discriminator.name(*DISCRIMINATORS)
    for key in ("in_channels", "num_in_ch"):
        discriminator.fixed(key, 3)
    discriminator.fixed("norm_layer", "batch")
    filters = discriminator.count("num_feat")
    discriminator.close().need("name")
    if filters and generator_filters and filters != generator_filters:
        raise UserError(f"{discriminator.at('num_feat')} {filters} and model.generator.nf "
                        f"{generator_filters} differ; one number, --num_filters, serves both here")
    return {"discriminator": DISCRIMINATORS[kind]}


def _pixel(pixel, kind, lines):
    name = pixel.name(*LOSSES)
    weight = pixel.number("loss_weight")
    # Adam's steps do not depend on the factor of its only loss.
    pixel.fixed("reduction", "mean", *(("sum",) if kind == "BaseSRModel" else ()))
    if name == "CharbonnierLoss":
        pixel.fixed("eps", CHARBONNIER_EPS)
        if kind == "ESRGAN":
            pixel.need("reduction")  # without it PaddleGAN adds up
        if not pixel.holds("eps"):
            lines.append(f"{pixel.at('eps')} is not given: it is {CHARBONNIER_EPS} here and 1e-12 "
                         "in PaddleGAN")
    pixel.close()
    if name is None:
        return {}
    return {"loss": LOSSES[name], **({} if weight is None or kind == "BaseSRModel" else
                                     {"pixel_weight": weight})}


def _perceptual(perceptual, lines):
    perceptual.name("PerceptualLoss")
    layers = perceptual.section("layer_weights")
    perceptual.fixed("vgg_type", "vgg19")
    perceptual.fixed("use_input_norm", True)
    perceptual.fixed("norm_img", False)
    perceptual.fixed("style_weight", 0)
    perceptual.fixed("criterion", "l1")
    if perceptual.text("pretrained"):
        lines.append(f"{perceptual.at('pretrained')} is not used: VGG19's weights are Keras's, "
                     "see --vgg_weights")
    if not perceptual.holds("style_weight"):
        lines.append(f"{perceptual.at('style_weight')} is not given: there is no style loss here")
    weight = perceptual.number("perceptual_weight", 1.0)
    perceptual.close().need("name", "layer_weights")
    return {"perceptual_weight": weight, "perceptual_loss": "l1", **_vgg_layers(layers)}


def _vgg_layers(layers):
    names, weights, before = [], [], {}
    for key, _ in layers.items():
        index = int(key) if key.isdigit() else -1
        before[layers.at(key)] = index in _CONVOLUTIONS
        name = _CONVOLUTIONS.get(index, _CONVOLUTIONS.get(index - 1))
        if name is None:
            raise UserError(f"{layers.at(key)}: torchvision's VGG19 has no convolution and no ReLU "
                            "of this number; 34 is conv5_4 before its ReLU")
        names.append(name)
        weights.append(layers.number(key))
    if not names:
        raise UserError(f"{layers.path} names no layer; '34' is conv5_4")
    if len(set(before.values())) > 1:
        raise UserError(f"{' and '.join(before)}: either all before or all after their ReLU")
    return {"vgg_layers": names, "vgg_layer_weights": weights,
            "vgg_before_relu": next(iter(before.values()))}


def _gan(gan, lines):
    gan.name("GANLoss")
    mode = gan.text("gan_mode")
    weight = gan.number("loss_weight", 1.0)
    gan.fixed("target_real_label", 1)
    gan.fixed("target_fake_label", 0)
    gan.close().need("name", "gan_mode")
    if mode not in GAN_MODES:
        raise UserError(f"{gan.at('gan_mode')} {mode!r} is not known; known: "
                        f"{', '.join(GAN_MODES)}")
    if mode == "lsgan":
        lines.append(f"{gan.at('gan_mode')} lsgan: each patch is judged for itself, not against "
                     "the mean of the others as PaddleGAN's ESRGAN does")
    if mode == "wgangp":
        lines.append(f"{gan.at('gan_mode')} wgangp: with a gradient penalty, which PaddleGAN's "
                     "ESRGAN leaves out; so does gan_mode wgan")
    return {"gan_loss": GAN_MODES[mode], "adversarial_weight": weight,
            "gradient_penalty": 0.0 if mode == "wgan" else None}


# ---- data ----------------------------------------------------------------------------------------

def _data(data, scales):
    train, test = data.section("train"), data.section("test")
    has_test = data.holds("test")
    data.close().need("train")
    batch_size = train.count("batch_size")
    gt, lq, pipeline = _set(train, scales)
    val_gt, val_lq, val_pipeline = _set(test, scales) if has_test else (None, None, None)
    options = {"batch_size": batch_size, **_crop_and_flips(pipeline, train, scales)}
    if has_test:
        for name, step in val_pipeline.items():
            if name not in ("Transpose", "Normalize"):
                raise UserError(f"{step.at('name')} {name} is for training; dataset.test is "
                                "measured on whole images")
    parent = Path(gt).parent
    scale = next((scales[path] for path in scales), None)
    four = [str(parent / name) for name in ("train", f"train_X{scale}", "test", f"test_X{scale}")]
    if has_test and [str(Path(folder)) for folder in (gt, lq, val_gt, val_lq)] == four:
        return {"dataset": "paired", "data_dir": str(parent), **options}
    return {"dataset": "paired", "gt_folder": gt, "lq_folder": lq, "val_gt_folder": val_gt,
            "val_lq_folder": val_lq, **options}


def _set(part, scales):
    """(folder of HR images, folder of LR images, {step: its section})."""
    part.name("SRDataset")
    gt, lq = part.text("gt_folder"), part.text("lq_folder")
    part.count("batch_size")
    part.count("num_workers", 0)
    part.truth("use_shared_memory")
    part.text("filename_tmpl")  # images pair up by their names, with or without x4 at the end
    if part.holds("scale"):
        scales[part.at("scale")] = part.count("scale")
    steps = part.sections("preprocess")
    part.close().need("name", "gt_folder", "lq_folder", "preprocess")
    loaded, pipeline = [], None
    for step in steps:
        if step.name("LoadImageFromFile", "Transforms") == "LoadImageFromFile":
            loaded.append(step.text("key"))
            step.fixed("to_rgb", True)
            step.fixed("flag", -1, 1)
            step.fixed("save_original_img", False)
            step.text("backend")
        else:
            step.fixed("input_keys", ["lq", "gt"])
            pipeline = step.sections("pipeline")
        step.close().need("name")
    if sorted(filter(None, loaded)) != ["gt", "lq"]:
        raise UserError(f"{part.at('preprocess')}: LoadImageFromFile for lq and for gt is missing")
    if pipeline is None:
        raise UserError(f"{part.at('preprocess')}: Transforms is missing")
    return gt, lq, _pipeline(pipeline, part)


def _pipeline(steps, part):
    named = {}
    for step in steps:
        name = step.name(*STEPS)
        step.fixed("keys", ["image", "image"])
        if name == "Normalize":
            step.fixed("mean", [0, 0, 0], 0)
            step.fixed("std", [255, 255, 255], 255)
            step.fixed("data_format", "CHW")
            step.fixed("to_rgb", False)
        elif name == "Transpose":
            step.fixed("order", (2, 0, 1), [2, 0, 1])
        elif name in FLIPS:
            step.fixed("prob", 0.5)
        else:
            step.fixed("scale_list", False)
            step.count("gt_patch_size")
            step.count("scale")
        step.close().need("name", *(("mean", "std") if name == "Normalize" else ()))
        named[name] = step
    for name in ("Transpose", "Normalize"):
        if name not in named:
            raise UserError(f"{part.at('preprocess')}: the step {name} is missing")
    return named


def _crop_and_flips(pipeline, train, scales):
    crop = pipeline.get("SRPairedRandomCrop")
    if crop is None:
        raise UserError(f"{train.at('preprocess')}: the step SRPairedRandomCrop is missing")
    crop.need("gt_patch_size", "scale")
    scales[crop.at("scale")] = crop.count("scale")
    flips = [name for name in FLIPS if name in pipeline]
    if 0 < len(flips) < len(FLIPS):
        raise UserError(f"{train.at('preprocess')} has {' and '.join(flips)} alone; the patches "
                        f"are turned by all of {', '.join(FLIPS)} or by none")
    return {"gt_patch": crop.count("gt_patch_size"), "augment": bool(flips)}


# ---- optimisation --------------------------------------------------------------------------------

def _schedule(schedule, total):
    """Options of the learning rate; without the block, the stage's own."""
    name = schedule.name("CosineAnnealingRestartLR", "MultiStepDecay")
    rate = schedule.number("learning_rate")
    if name == "CosineAnnealingRestartLR":
        periods, weights = schedule.numbers("periods"), schedule.numbers("restart_weights", [1])
        lowest = schedule.number("eta_min", 0.0)
        schedule.close().need("learning_rate", "periods")
        if total is not None and sum(periods) != total:
            raise UserError(f"{schedule.at('periods')} add up to {sum(periods)}, not to the "
                            f"total_iters {total}")
        if len(weights) != len(periods):
            raise UserError(f"{schedule.at('restart_weights')} has {len(weights)} numbers for "
                            f"{len(periods)} periods")
        return {"learning_rate": rate, "lr_schedule": "cosine", "periods": periods,
                "restart_weights": weights, "min_learning_rate": lowest}
    if name == "MultiStepDecay":
        milestones, gamma = schedule.numbers("milestones"), schedule.number("gamma", 0.1)
        schedule.close().need("learning_rate", "milestones")
        if gamma != 0.5:
            raise UserError(f"{schedule.at('gamma')} {gamma}: the rate can only be halved at the "
                            "milestones, gamma 0.5")
        return {"learning_rate": rate, "lr_schedule": "halve", "halve_at": milestones}
    schedule.close()
    return {"learning_rate": rate}


def _optimizer(optimizer):
    """Adam's betas, from one optimizer or from optimG and optimD."""
    two = [key for key in ("optimG", "optimD") if optimizer.holds(key)]
    found = {}
    for key in two or [None]:
        part = optimizer.section(key) if key else optimizer
        part.name("Adam")
        part.fixed("net_names", ["discriminator" if key == "optimD" else "generator"])
        part.fixed("weight_decay", 0)
        part.fixed("epsilon", 1e-8)
        for beta, default in (("beta1", 0.9), ("beta2", 0.999)):
            value = part.number(beta, default if part.holds("name") else None)
            if value is not None:
                found.setdefault(beta, {})[part.at(beta)] = value
        if key:
            part.close().need("name")
    optimizer.close()
    return {beta: _agreed(values) for beta, values in found.items()}


# ---- validation and reports ----------------------------------------------------------------------

def _validation(validate, lines):
    every = validate.count("interval")
    if validate.truth("save_img"):
        lines.append(f"{validate.at('save_img')}: the first images are compared in "
                     "<output_dir>/samples; python -m scripts.evaluate --save_images saves all")
    metrics = validate.section("metrics")
    validate.close()
    entries = [metrics] if metrics.holds("name") else [
        metrics.section(key) for key, _ in metrics.items()]
    borders, channels = {}, {}
    for entry in entries:
        name = entry.name(*METRICS)
        if name not in ("PSNR", "SSIM"):
            lines.append(f"{entry.path}: {name} is not measured while training; python -m "
                         "scripts.evaluate --metrics lpips niqe does it")
            continue
        entry.fixed("input_order", "HWC")
        if entry.holds("crop_border"):
            borders[entry.at("crop_border")] = entry.count("crop_border", 0)
        channels[entry.at("test_y_channel")] = entry.truth("test_y_channel", False)
        entry.close()
    channel = _agreed(channels)
    return {"val_every": every, "val_crop_border": _agreed(borders),
            "val_channel": None if channel is None else "y" if channel else "rgb"}


def _reports(top, by_epoch):
    logs, snapshots = top.section("log_config"), top.section("snapshot_config")
    every, saved = logs.count("interval"), snapshots.count("interval")
    visual = {logs.at(key): logs.count(key) for key in ("visiual_interval", "visual_interval")
              if logs.holds(key)}
    logs.close()
    snapshots.close()
    return {"log_every": every, "sample_every": _agreed(visual),
            "save_epochs" if by_epoch else "save_every": saved}
