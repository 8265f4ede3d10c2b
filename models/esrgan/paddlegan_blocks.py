"""The blocks of PaddleGAN's YAML for RRDBNet and ESRGAN, each a dataclass, and what they set here.

The spellings are PaddleGAN's, `visiual_interval` included.
"""

from dataclasses import MISSING
from typing import Dict, List, Optional

from jsonargparse.typing import NonNegativeInt, PositiveInt

from common.cli import UserError
from common.python37 import Literal
from models.esrgan.blocks import Block, sets

Count, Number, Truth, Text = Optional[PositiveInt], Optional[float], Optional[bool], Optional[str]
DISCRIMINATORS = {"VGGDiscriminator128": "vgg", "UNetDiscriminatorSN": "unet"}
GAN_MODES = {"vanilla": "ragan", "lsgan": "lsgan", "wgan": "wgan_gp", "wgangp": "wgan_gp"}
LOSSES = {"L1Loss": "l1", "MSELoss": "mse", "CharbonnierLoss": "charbonnier"}
SCHEDULES = {"MultiStepDecay": "halve", "CosineAnnealingRestartLR": "cosine"}
STAGES = {"BaseSRModel": "psnr", "ESRGAN": "gan"}
CHARBONNIER_EPS = 1e-6  # under the root of images in [0, 1]: `losses.charbonnier` has 1e-3 squared
FLIPS = ("PairedRandomHorizontalFlip", "PairedRandomVerticalFlip", "PairedRandomTransposeHW")
# The layers of torchvision's VGG19 in order: 34 is conv5_4, 35 its ReLU.
VGG19 = [layer for block, count in enumerate((2, 2, 4, 4, 4), 1)
         for layer in (*(f"{kind}{block}_{i}" for i in range(1, count + 1)
                         for kind in ("conv", "relu")), "pool")]


# ---- networks and losses -------------------------------------------------------------------------

class Generator(Block):
    ONLY = {"in_nc": 3, "out_nc": 3}
    name: Literal["RRDBNet"]
    nf: Count = sets("num_filters")
    nb: Count = sets("num_blocks")
    gc: Count = sets("num_growth")
    scale: Count = sets("scale")


class Discriminator(Block):
    ONLY = {"in_channels": 3, "num_in_ch": 3, "norm_layer": "batch"}
    name: Literal[tuple(DISCRIMINATORS)] = sets("discriminator", DISCRIMINATORS, MISSING)
    num_feat: Count = None


class PixelCriterion(Block):
    OWN = {"CharbonnierLoss": ("eps",)}
    ONLY = {"reduction": ("mean", "sum"), "eps": CHARBONNIER_EPS}
    name: Literal[tuple(LOSSES)] = sets("loss", LOSSES, MISSING)
    loss_weight: Number = None

    def translate(self, notes):
        if self.name == "CharbonnierLoss" and self.eps is None:
            notes.append(f"{self.at('eps')} is not given: it is {CHARBONNIER_EPS} here, 1e-12 in "
                         "PaddleGAN")


class PerceptualCriterion(Block):
    ONLY = {"vgg_type": "vgg19", "use_input_norm": True, "norm_img": False, "style_weight": 0,
            "criterion": "l1"}
    name: Literal["PerceptualLoss"]
    layer_weights: Dict[str, float]
    perceptual_weight: Number = sets("perceptual_weight", default=1.0)
    pretrained: Text = sets(None, note="not used: VGG19's weights are Keras's, see --vgg_weights")

    def translate(self, notes):
        if self.style_weight is None:
            notes.append(f"{self.at('style_weight')} is not given: there is no style loss here")
        layers = {}
        for number in map(str, self.layer_weights):
            path = f"{self.at('layer_weights')}.{number}"
            layers[path] = VGG19[int(number)] if number in map(str, range(len(VGG19))) else "pool"
            if layers[path] == "pool":
                raise UserError(f"{path}: torchvision's VGG19 has no convolution and no ReLU of "
                                "this number; 34 is conv5_4 before its ReLU")
        kinds = {layer[:4] for layer in layers.values()}
        if not kinds:
            raise UserError(f"{self.at('layer_weights')} names no layer; '34' is conv5_4")
        if len(kinds) > 1:
            raise UserError(f"{' and '.join(layers)} must be all before or all after their ReLU")
        return {"perceptual_loss": "l1", "vgg_before_relu": kinds == {"conv"},
                "vgg_layers": [f"conv{layer[4:]}" for layer in layers.values()],
                "vgg_layer_weights": list(self.layer_weights.values())}


class GanCriterion(Block):
    ONLY = {"target_real_label": 1, "target_fake_label": 0}
    name: Literal["GANLoss"]
    gan_mode: Literal[tuple(GAN_MODES)] = sets("gan_loss", GAN_MODES, MISSING)
    loss_weight: Number = sets("adversarial_weight", default=1.0)

    def translate(self, notes):
        if self.gan_mode == "lsgan":
            notes.append(f"{self.at('gan_mode')} lsgan: each patch is judged by itself, not "
                         "against the mean of the others as in PaddleGAN's ESRGAN")
        if self.gan_mode == "wgangp":
            notes.append(f"{self.at('gan_mode')} wgangp: a gradient penalty is added, which "
                         "PaddleGAN's ESRGAN and gan_mode wgan omit")
        return {"gradient_penalty": 0.0} if self.gan_mode == "wgan" else None


class Model(Block):
    OWN = {"ESRGAN": ("discriminator", "perceptual_criterion", "gan_criterion")}
    NEED = {"BaseSRModel": ("pixel_criterion",)}
    ONLY = {"use_init_weight": False}
    name: Literal[tuple(STAGES)] = sets("stage", STAGES, MISSING)
    generator: Generator
    pixel_criterion: Optional[PixelCriterion] = None
    discriminator: Optional[Discriminator] = None
    perceptual_criterion: Optional[PerceptualCriterion] = None
    gan_criterion: Optional[GanCriterion] = None
    to_static: Truth = None

    def translate(self, notes):
        if self.name == "BaseSRModel":
            return None  # Adam's steps do not depend on the weight of its only loss
        for one, other in (("discriminator", "gan_criterion"), ("gan_criterion", "discriminator")):
            if getattr(self, one) and not getattr(self, other):
                raise UserError(f"{self.at(other)} is missing; {self.at(one)} needs it")
        filters = self.discriminator and self.discriminator.num_feat
        if filters and self.generator.nf not in (None, filters):
            raise UserError(f"{self.discriminator.at('num_feat')} {filters} and "
                            f"{self.generator.at('nf')} {self.generator.nf} differ; here both are "
                            "--num_filters")
        pixel, weight = self.pixel_criterion, 0.0
        if pixel:
            weight = 1.0 if pixel.loss_weight is None else pixel.loss_weight
            default = "sum" if pixel.name == "CharbonnierLoss" else "mean"
            if (pixel.reduction or default) != "mean":
                raise UserError(f"{pixel.at('reduction')} must be 'mean' in ESRGAN; it is 'sum', "
                                "the default of CharbonnierLoss")
        return {"pixel_weight": weight, "perceptual_weight": 0.0, "adversarial_weight": 0.0}


# ---- data ----------------------------------------------------------------------------------------

class Step(Block):
    OWN = {"SRPairedRandomCrop": ("gt_patch_size", "scale", "scale_list"),
           "Transpose": ("order",), "Normalize": ("mean", "std", "data_format", "to_rgb"),
           **dict.fromkeys(FLIPS, ("prob",))}
    NEED = {"SRPairedRandomCrop": ("gt_patch_size", "scale"), "Normalize": ("mean", "std")}
    ONLY = {"keys": ["image", "image"], "scale_list": False, "prob": 0.5, "order": [2, 0, 1],
            "mean": ([0, 0, 0], 0), "std": ([255, 255, 255], 255), "data_format": "CHW",
            "to_rgb": False}
    name: Literal[tuple(OWN)]
    gt_patch_size: Count = sets("gt_patch")
    scale: Count = sets("scale")


class Preprocess(Block):
    OWN = {"LoadImageFromFile": ("key", "to_rgb", "flag", "save_original_img", "backend"),
           "Transforms": ("pipeline", "input_keys")}
    NEED = {"LoadImageFromFile": ("key",), "Transforms": ("pipeline",)}
    ONLY = {"to_rgb": True, "flag": (-1, 1), "save_original_img": False, "input_keys": ["lq", "gt"],
            "key": ("lq", "gt")}
    name: Literal[tuple(OWN)]
    backend: Text = None
    pipeline: Optional[List[Step]] = None


class SRDataset(Block):
    name: Literal["SRDataset"]
    gt_folder: str
    lq_folder: str
    preprocess: List[Preprocess]
    batch_size: Count = None
    num_workers: Optional[NonNegativeInt] = None
    use_shared_memory: Truth = None
    filename_tmpl: Text = None  # images pair up by name here, with or without x4 at the end
    scale: Count = sets("scale")

    def translate(self, notes):
        place, train = self.at("preprocess"), self.path == "dataset.train"
        if sorted(part.key or "" for part in self.preprocess)[-2:] != ["gt", "lq"]:
            raise UserError(f"{place}: LoadImageFromFile for lq and for gt is missing")
        steps = {step.name: step for part in self.preprocess for step in part.pipeline or ()}
        for name in ("Transpose", "Normalize", *(("SRPairedRandomCrop",) if train else ())):
            if name not in steps:
                raise UserError(f"{place}: the step {name} is missing")
        for name, step in steps.items():
            if not train and name not in ("Transpose", "Normalize"):
                raise UserError(f"{step.at('name')} {name} is for training; validation takes whole "
                                "images")
        flips = [name for name in FLIPS if name in steps]
        if 0 < len(flips) < len(FLIPS):
            raise UserError(f"{place} has {' and '.join(flips)} alone; give all of "
                            f"{', '.join(FLIPS)} or none")
        return {"augment": bool(flips), "batch_size": self.batch_size} if train else None


class Dataset(Block):
    train: SRDataset
    test: Optional[SRDataset] = None


# ---- optimisation --------------------------------------------------------------------------------

class LrScheduler(Block):
    OWN = {"MultiStepDecay": ("milestones", "gamma"),
           "CosineAnnealingRestartLR": ("periods", "restart_weights", "eta_min")}
    NEED = {"MultiStepDecay": ("learning_rate", "milestones"),
            "CosineAnnealingRestartLR": ("learning_rate", "periods")}
    name: Optional[Literal[tuple(OWN)]] = sets("lr_schedule", SCHEDULES)
    learning_rate: Number = sets("learning_rate")
    milestones: Optional[List[PositiveInt]] = sets("halve_at")
    gamma: float = 0.1
    periods: Optional[List[PositiveInt]] = sets("periods")
    restart_weights: Optional[List[float]] = None
    eta_min: Number = None

    def translate(self, notes):
        if self.name == "MultiStepDecay" and self.gamma != 0.5:
            raise UserError(f"{self.at('gamma')} {self.gamma}: the rate can only be halved at the "
                            "milestones, gamma 0.5")
        if self.name == "CosineAnnealingRestartLR":
            weights = [1.0] if self.restart_weights is None else self.restart_weights
            if len(weights) != len(self.periods):
                raise UserError(f"{self.at('restart_weights')} has {len(weights)} numbers for "
                                f"{len(self.periods)} periods")
            return {"restart_weights": weights, "min_learning_rate": self.eta_min or 0.0}


class Adam(Block):
    ONLY = {"net_names": (["generator"], ["discriminator"]), "weight_decay": 0, "epsilon": 1e-8}
    name: Literal["Adam"]
    beta1: Number = sets("beta1", default=0.9)
    beta2: Number = sets("beta2", default=0.999)

    def translate(self, notes):
        nets = ["discriminator" if self.path.endswith("optimD") else "generator"]
        if self.net_names not in (None, nets):
            raise UserError(f"{self.at('net_names')} must be {nets}, not {self.net_names}")


# ---- validation and reports ----------------------------------------------------------------------

class Metric(Block):
    OPEN = ("LPIPSMetric", "NIQEMetric")
    ONLY = {"input_order": "HWC"}
    name: Literal["PSNR", "SSIM", "LPIPSMetric", "NIQEMetric"]
    crop_border: Optional[NonNegativeInt] = sets("val_crop_border")
    test_y_channel: Truth = sets("val_channel", {True: "y", False: "rgb"})

    def __post_init__(self):
        if self.name not in self.OPEN:
            self.test_y_channel = bool(self.test_y_channel)

    def translate(self, notes):
        if self.name in self.OPEN:
            notes.append(f"{self.path}: {self.name} is not measured during training; use python "
                         "-m scripts.evaluate --metrics lpips niqe")


class Validate(Block):
    interval: Count = sets("val_every")
    save_img: Truth = sets(None, note="the first images are compared in <output_dir>/samples; "
                                      "python -m scripts.evaluate --save_images saves all")
    metrics: Optional[Dict[str, Metric]] = None


class LogConfig(Block):
    interval: Count = sets("log_every")
    visiual_interval: Count = sets("sample_every")
    visual_interval: Count = sets("sample_every")


class SnapshotConfig(Block):
    interval: Count = None


class ExportModel(Block):
    ONLY = {"inputs_num": 1}
    name: Optional[Literal["generator"]] = None


class PaddleGan(Block):
    ONLY = {"min_max": [0, 1]}
    model: Model
    dataset: Dataset
    total_iters: Count = sets("train_steps")
    epochs: Count = sets("epochs")
    output_dir: Text = sets("output_dir")
    find_unused_parameters: Truth = None
    enable_visualdl: Truth = sets(None, note="TensorBoard logs are always written, in "
                                             "<output_dir>/logs")
    export_model: Optional[List[ExportModel]] = None
    lr_scheduler: Optional[LrScheduler] = None
    optimizer: Optional[Dict[Literal["optimG", "optimD"], Adam]] = None
    validate: Optional[Validate] = None
    log_config: Optional[LogConfig] = None
    snapshot_config: Optional[SnapshotConfig] = None

    def translate(self, notes):
        if self.total_iters and self.epochs:
            raise UserError("total_iters and epochs exclude each other; give one")
        periods = self.lr_scheduler and self.lr_scheduler.periods
        if periods and self.total_iters not in (None, sum(periods)):
            raise UserError(f"lr_scheduler.periods add up to {sum(periods)}, not to the "
                            f"total_iters {self.total_iters}")
        every = self.snapshot_config and self.snapshot_config.interval
        return {"save_epochs" if self.epochs else "save_every": every} if every else None
