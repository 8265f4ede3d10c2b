"""PaddleGAN's command line and YAML for ESRGAN."""

import copy
import json
import os
import pickle
import re

import numpy as np
import pytest
import yaml
from PIL import Image

import models
from common.bicubic import downscale
from common.cli import UserError
from common.flags import parse, to_yaml
from models.esrgan import modelzoo, paddlegan, train
from models.esrgan.paddlegan_blocks import CHARBONNIER_EPS

pytestmark = pytest.mark.usefixtures("no_curves")
# The blocks of the description's seventh section, joined as a user would.
PSNR_YAML = """\
# 训练轮次
total_iters: 1000000
output_dir: output_dir
# tensor range for function tensor2img
min_max:
  (0., 1.)

# 模型架构
model:
  name: BaseSRModel
  generator:
    name: RRDBNet
    in_nc: 3
    out_nc: 3
    nf: 64
    nb: 23
  pixel_criterion:
    name: L1Loss

export_model:
  - {name: 'generator', inputs_num: 1}

dataset:
# 训练集配置
  train:
    name: SRDataset
    gt_folder: data/animeSR/train
    lq_folder: data/animeSR/train_X4
    num_workers: 4
    batch_size: 16
    scale: 4
    preprocess:
      - name: LoadImageFromFile
        key: lq
      - name: LoadImageFromFile
        key: gt
      - name: Transforms
        input_keys: [lq, gt]
        pipeline:
          - name: SRPairedRandomCrop
            gt_patch_size: 128
            scale: 4
            keys: [image, image]
          - name: PairedRandomHorizontalFlip
            keys: [image, image]
          - name: PairedRandomVerticalFlip
            keys: [image, image]
          - name: PairedRandomTransposeHW
            keys: [image, image]
          - name: Transpose
            keys: [image, image]
          - name: Normalize
            mean: [0., 0., 0.]
            std: [255., 255., 255.]
            keys: [image, image]
  # 测试集配置
  test:
    name: SRDataset
    gt_folder: data/animeSR/test
    lq_folder: data/animeSR/test_X4
    scale: 4
    preprocess:
      - name: LoadImageFromFile
        key: lq
      - name: LoadImageFromFile
        key: gt
      - name: Transforms
        input_keys: [lq, gt]
        pipeline:
          - name: Transpose
            keys: [image, image]
          - name: Normalize
            mean: [0., 0., 0.]
            std: [255., 255., 255.]
            keys: [image, image]

# 优化器配置
optimizer:
  name: Adam
  # add parameters of net_name to optim
  # name should in self.nets
  net_names:
    - generator
  beta1: 0.9
  beta2: 0.99

# 验证设置
validate:
  interval: 5000
  save_img: false

# 验证指标
  metrics:
    psnr: # metric name, can be arbitrary
      name: PSNR
      crop_border: 4
      test_y_channel: True
    ssim:
      name: SSIM
      crop_border: 4
      test_y_channel: True

# 日志配置
log_config:
  interval: 10
  visiual_interval: 500

# 模型保存轮次
snapshot_config:
  interval: 5000
"""

# What changes for the GAN stage, as PaddleGAN's esrgan_x4_div2k.yaml has it.
GAN = yaml.safe_load("""
find_unused_parameters: True
model:
  name: ESRGAN
  generator: {name: RRDBNet, in_nc: 3, out_nc: 3, nf: 64, nb: 23}
  discriminator: {name: VGGDiscriminator128, in_channels: 3, num_feat: 64}
  pixel_criterion: {name: L1Loss, loss_weight: !!float 1e-2}
  perceptual_criterion:
    name: PerceptualLoss
    layer_weights: {'34': 1.0}
    perceptual_weight: 1.0
    style_weight: 0.0
    norm_img: False
  gan_criterion: {name: GANLoss, gan_mode: vanilla, loss_weight: 5e-3}
lr_scheduler:
  name: MultiStepDecay
  learning_rate: 0.0001
  milestones: [50000, 100000, 200000, 300000]
  gamma: 0.5
optimizer:
  optimG: {name: Adam, net_names: [generator], weight_decay: 0.0, beta1: 0.9, beta2: 0.99}
  optimD: {name: Adam, net_names: [discriminator], weight_decay: 0.0, beta1: 0.9, beta2: 0.99}
validate:
  interval: 5000
  metrics:
    psnr: {name: PSNR, crop_border: 4, test_y_channel: false}
    lpips: {name: LPIPSMetric}
""")

PIPELINE = "dataset.train.preprocess.2.pipeline"
COSINE = ["lr_scheduler={name: CosineAnnealingRestartLR, learning_rate: 2e-4, "
          "periods: [4, 2], restart_weights: [1, 0.5], eta_min: 1e-7}", "total_iters=6"]


def gan_values():
    return {**yaml.safe_load(PSNR_YAML), **copy.deepcopy(GAN)}


def psnr_values():
    return yaml.safe_load(PSNR_YAML)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with the description's YAML as configs/esrgan.yaml."""
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "esrgan.yaml").write_text(PSNR_YAML, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(*argv):
    """The options that a command line arrives at."""
    return parse(train.EsrganOptions, modelzoo.translate(list(argv)), "train",
                 exclusive=[("train_steps", "epochs")])


def read_yaml(*settings):
    return read("--config-file", "configs/esrgan.yaml", *(("-o", *settings) if settings else ()))


def test_the_descriptions_yaml_as_it_stands(folder):
    options = read("--config-file", "configs/esrgan.yaml")
    assert (options.stage, options.scale, options.train_steps) == ("psnr", 4, 1_000_000)
    assert (options.num_blocks, options.num_filters, options.loss) == (23, 64, "l1")
    assert (options.dataset, options.data_dir) == ("paired", "data/animeSR")
    assert (options.batch_size, options.patch_size, options.augment) == (16, 32, True)
    assert (options.beta1, options.beta2, options.output_dir) == (0.9, 0.99, "output_dir")
    assert (options.val_every, options.val_channel, options.val_crop_border) == (5000, "y", 4)
    assert (options.log_every, options.sample_every, options.save_every) == (10, 500, 5000)
    assert options.learning_rate is options.lr_schedule is None  # of the stage


def test_all_blocks_of_the_description_joined(shared, folder):
    """Also those that repeat the data and show two keys outside their blocks."""
    text = (shared / "seeds" / "002_esrgan_paddlegan.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```\s*yaml\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 7
    (folder / "all.yaml").write_text("\n".join(blocks), encoding="utf-8")
    chosen = [block for block in blocks[1:-2]]
    (folder / "chosen.yaml").write_text("\n".join(chosen), encoding="utf-8")
    expected = modelzoo.translate(["-c", "configs/esrgan.yaml"])
    assert sorted(modelzoo.translate(["-c", "chosen.yaml"])) == sorted(expected)
    assert sorted(modelzoo.translate(["-c", "all.yaml"])) == sorted(
        [*expected, "--learning_rate=0.0002"])


def test_keys_change_by_their_path(folder):
    options = read_yaml("dataset.train.batch_size=2", f"{PIPELINE}.0.gt_patch_size=64",
                        "model.generator.gc=16", "lr_scheduler.learning_rate=1e-4",
                        "dataset.test.gt_folder=else/where")
    assert (options.batch_size, options.patch_size, options.num_growth) == (2, 16, 16)
    assert (options.learning_rate, options.lr_schedule) == (1e-4, None)
    assert (options.data_dir, options.val_gt_folder) == (None, "else/where")
    several = read("-o", "total_iters=6", "-c", "configs/esrgan.yaml", "--opt",
                   "model.generator.nb=2", "model.generator.nf=8")
    assert (several.train_steps, several.num_blocks, several.num_filters) == (6, 2, 8)


def test_flags_have_the_last_word(folder):
    options = read("-c", "configs/esrgan.yaml", "--epochs", "3", "--no_augment", "--batch_size=2",
                   "--data_dir", "mine", "--seed", "5", "--val-interval", "7", "--no-cuda",
                   "--evaluate-only", "--resume", "run/checkpoints")
    assert (options.epochs, options.train_steps, options.augment) == (3, None, False)
    assert (options.batch_size, options.data_dir, options.seed) == (2, "mine", 5)
    assert (options.val_every, options.chip, options.evaluate_only) == (7, "cpu", True)
    assert options.resume == "run/checkpoints"
    assert read("--amp", "-c", "configs/esrgan.yaml").precision == "mixed_float16"


def test_a_yaml_of_the_zoo_passes_on(folder):
    mine = read("--num_blocks", "2", "--stage", "gan")
    (folder / "mine.yaml").write_text(to_yaml(mine))
    for flag in ("-c", "--config", "--config-file"):
        assert modelzoo.translate([flag, "mine.yaml"]) == ["--config=mine.yaml"]
        assert read(flag, "mine.yaml") == mine


def test_a_print_of_the_options_stays_clean(folder, capsys):
    translated = modelzoo.translate(["-c", "configs/esrgan.yaml", "-o", "enable_visualdl=true",
                                 "--print_config"])
    assert "--print_config" in translated and capsys.readouterr().out == ""
    modelzoo.translate(["-c", "configs/esrgan.yaml", "-o", "enable_visualdl=true"])
    assert "TensorBoard" in capsys.readouterr().out


def test_folders_that_are_no_quadruple_are_named_one_by_one(folder):
    options = read_yaml("dataset.train.lq_folder=lq/", "dataset.test.lq_folder=x/y")
    assert (options.gt_folder, options.lq_folder) == ("data/animeSR/train", "lq/")
    assert (options.val_gt_folder, options.val_lq_folder) == ("data/animeSR/test", "x/y")
    assert (options.dataset, options.data_dir) == ("paired", None)
    without = read_yaml("dataset.test=null")
    assert (without.lq_folder, without.val_gt_folder) == ("data/animeSR/train_X4", None)


def translated(values, *settings):
    """The options that a YAML with some changes stands for."""
    for setting in settings:
        modelzoo.override(values, setting)
    return paddlegan.read_options(values)[0]


def test_learning_rates():
    cosine = translated(psnr_values(), *COSINE)
    assert (cosine["lr_schedule"], cosine["learning_rate"]) == ("cosine", 2e-4)
    assert (cosine["periods"], cosine["restart_weights"]) == ([4, 2], [1, 0.5])
    assert cosine["min_learning_rate"] == 1e-7
    steps = translated(psnr_values(), "lr_scheduler={name: MultiStepDecay, learning_rate: 0.0001, "
                       "milestones: [3, 5], gamma: 0.5}")
    assert (steps["lr_schedule"], steps["halve_at"], steps["learning_rate"]) == (
        "halve", [3, 5], 1e-4)


def test_the_rate_of_cosine_restarts():
    """By hand: half a cosine in each period, times its weight (PaddleGAN restarts a step later)."""
    from types import SimpleNamespace

    from common.training.schedules import learning_rate

    options = SimpleNamespace(warmup_steps=0, decay_epochs=0, decay_step=1,
                              **translated(psnr_values(), *COSINE))
    found = [learning_rate(step, options, SimpleNamespace(total=6, epoch=1)) for step in range(6)]
    span = 2e-4 - 1e-7
    expected = [1e-7 + weight * span * share for weight, share in
                ((1, 1), (1, 0.85355339), (1, 0.5), (1, 0.14644661), (0.5, 1), (0.5, 0.5))]
    assert found == pytest.approx(expected, rel=1e-6)


def test_numbers_and_names_in_every_spelling_of_yaml():
    options = translated(psnr_values(), "total_iters='1e6'", "model.generator.nb='4'",
                         "optimizer.beta1='0.5'", "dataset.train.gt_folder=2020")
    assert (options["train_steps"], options["num_blocks"], options["beta1"]) == (10**6, 4, 0.5)
    assert options["gt_folder"] == "2020"


def test_a_single_metric_needs_no_name():
    options = translated(psnr_values(), "validate.metrics={name: PSNR, crop_border: 3}")
    assert (options["val_crop_border"], options["val_channel"]) == (3, "rgb")


def test_the_gan_stage():
    options, lines = paddlegan.read_options(gan_values())
    assert (options["stage"], options["discriminator"], options["gan_loss"]) == (
        "gan", "vgg", "ragan")
    assert (options["pixel_weight"], options["perceptual_weight"],
            options["adversarial_weight"]) == (1e-2, 1.0, 5e-3)
    assert (options["vgg_layers"], options["vgg_layer_weights"]) == (["conv5_4"], [1.0])
    assert options["vgg_before_relu"] is True and options["perceptual_loss"] == "l1"
    assert (options["lr_schedule"], options["halve_at"]) == ("halve",
                                                             [50000, 100000, 200000, 300000])
    assert (options["beta1"], options["beta2"], options["val_channel"]) == (0.9, 0.99, "rgb")
    assert len(lines) == 1 and "lpips" in lines[0]


@pytest.mark.parametrize("mode, loss", [("vanilla", "ragan"), ("lsgan", "lsgan"),
                                        ("wgangp", "wgan_gp"), ("wgan", "wgan_gp")])
def test_gan_modes(mode, loss):
    values = gan_values()
    values["model"]["gan_criterion"]["gan_mode"] = mode
    options, lines = paddlegan.read_options(values)
    assert options["gan_loss"] == loss
    assert options.get("gradient_penalty") == (0.0 if mode == "wgan" else None)
    assert any("gan_mode" in line for line in lines) == (mode in ("lsgan", "wgangp"))


def test_parts_of_the_gan_may_be_missing():
    options = translated(gan_values(), *(f"model.{key}=null" for key in (
        "perceptual_criterion", "discriminator", "gan_criterion")))
    assert (options["pixel_weight"], options["perceptual_weight"],
            options["adversarial_weight"]) == (1e-2, 0, 0)


def test_the_charbonnier_loss_has_one_epsilon():
    """PaddleGAN adds it to the square of a difference in [0, 1], the zoo works in [0, 255]."""
    import inspect

    from common.training.losses import charbonnier

    epsilon = inspect.signature(charbonnier).parameters["epsilon"].default
    assert (epsilon / 255) ** 2 == pytest.approx(CHARBONNIER_EPS)
    values = psnr_values()
    for eps, told in (("1e-6", 0), (None, 1)):
        values["model"]["pixel_criterion"] = {"name": "CharbonnierLoss", "eps": eps}
        options, lines = paddlegan.read_options(values)
        assert options["loss"] == "charbonnier" and sum("1e-12" in line for line in lines) == told


def test_vgg_layers_after_their_relu():
    options = translated(gan_values(),
                         "model.perceptual_criterion.layer_weights={8: 0.5, '35': 1}")
    assert (options["vgg_layers"], options["vgg_layer_weights"]) == (["conv2_2", "conv5_4"],
                                                                     [0.5, 1])
    assert options["vgg_before_relu"] is False


def test_what_the_stage_reads_is_an_option(folder):
    """Every name and value of both stages arrives through the options of the zoo."""
    for values in (psnr_values(), gan_values()):
        (folder / "stage.yaml").write_text(yaml.safe_dump(values))
        options = read("-c", "stage.yaml")
        for key, value in paddlegan.read_options(values)[0].items():
            found = getattr(options, key)
            assert (list(found) if isinstance(found, tuple) else found) == value, key


@pytest.mark.parametrize("settings, words", [
    (["total_iter=6"], r"unknown key total_iter \(did you mean 'total_iters'\?\)"),
    (["model.generator.nff=6"], r"unknown key model\.generator\.nff \(did you mean 'nf'\?\)"),
    (["dataset.train.lq_foldr=x", "dataset.train.lq_folder=null"],
     r"unknown key dataset\.train\.lq_foldr \(did you mean 'lq_folder'\?\)"),
    ([f"{PIPELINE}.0.gt_patchsize=x"],
     r"unknown key dataset\.train\.preprocess\.2\.pipeline\.0\.gt_patchsize"),
    ([f"{PIPELINE}.1.name=PairedRandomHorizontalFlop"],
     r"preprocess\.2\.pipeline\.1\.name 'PairedRandomHorizontalFlop' .*did you mean"),
    (["model.name=SRGAN"], r"model\.name 'SRGAN' is not known.*BaseSRModel, ESRGAN"),
    (["model.generator.name=RCAN"], r"model\.generator\.name 'RCAN' is not known"),
    (["model.generator.in_nc=1"], r"model\.generator\.in_nc 1 is not possible here, only 3"),
    (["model.generator.nb=many"], r"generator\.nb: expected a whole number .* 1, not 'many'"),
    (["model.generator.nb=0"], r"model\.generator\.nb: expected a whole number of at least 1"),
    (["model.gan_criterion={name: GANLoss}"], r"model\.gan_criterion belongs to .*ESRGAN"),
    (["model.pixel_criterion=null"], r"model\.pixel_criterion is missing"),
    (["dataset.train.lq_folder=null"], r"dataset\.train\.lq_folder is missing"),
    (["dataset.train.scale=2"], r"dataset\.train\.scale 2 and .*dataset.*scale 4 contradict"),
    (["model.generator.scale=2"], r"model\.generator\.scale 2 and dataset\.train\.scale 4 contra"),
    ([f"{PIPELINE}.0.scale=3"], r"pipeline\.0\.scale 3 contradict"),
    ([f"{PIPELINE}.0.gt_patch_size=130"], r"gt_patch_size 130 is not a multiple of the scale 4"),
    ([f"{PIPELINE}.3.name=Transpose"],
     r"has PairedRandomHorizontalFlip and PairedRandomVerticalFlip alone"),
    ([f"{PIPELINE}.5.std=[1, 1, 1]"], r"pipeline\.5\.std \[1, 1, 1\] is not possible here"),
    (["dataset.test.preprocess.2.pipeline.0.name=PairedRandomTransposeHW"],
     r"dataset\.test\.preprocess: the step Transpose is missing"),
    (["dataset.test.preprocess.2.pipeline=[{name: Transpose}, {name: Normalize, mean: 0, std: 255},"
      " {name: PairedRandomTransposeHW}]"], r"PairedRandomTransposeHW is for train"),
    (["dataset.train.preprocess.0.key=gt"], "LoadImageFromFile for lq and for gt is missing"),
    (["model.pixel_criterion={name: CharbonnierLoss, eps: 1e-12}"],
     r"pixel_criterion\.eps 1e-12 is not possible here, only 1e-06"),
    (["model.pixel_criterion.eps=1e-6"],
     r"criterion\.eps belongs to CharbonnierLoss; model\.pixel_criterion\.name is L1Loss"),
    (["optimizer.beta1=no"], r"optimizer\.beta1: expected a number, not False"),
    (["validate.save_img=3"], r"validate\.save_img: expected true or false, not 3"),
    (["output_dir=[x]"], r"output_dir: expected text, not \['x'\]"),
    (["dataset.train.num_workers=-1"], r"num_workers: expected a whole number, 0 or more, not -1"),
    (["export_model=generator"], r"export_model: expected a list, not 'generator'"),
    (["model.generator.name=null"], r"model\.generator\.name is missing"),
    (["optimizer.name=null"], r"optimizer\.name is missing"),
    (["optimizer.net_names=[discriminator]"], r"net_names must be \['generator'\]"),
    (["min_max=(-1., 1.)"], r"min_max \(-1\.0, 1\.0\) is not possible here"),
    (["optimizer.name=SGD"], r"optimizer\.name 'SGD' is not known"),
    (["optimizer.weight_decay=0.1"], r"optimizer\.weight_decay 0\.1 is not possible here, only 0"),
    (["validate.metrics.ssim.crop_border=0"],
     r"metrics\.psnr\.crop_border 4 and validate\.metrics\.ssim\.crop_border 0 contradict"),
    (["validate.metrics.ssim.test_y_channel=False"], r"test_y_channel True and .* False contradic"),
    (["log_config.visual_interval=5"], r"visiual_interval 500 and .*visual_interval 5 contradict"),
    (["epochs=5"], "total_iters and epochs exclude each other"),
    ([*COSINE, "total_iters=7"], r"lr_scheduler\.periods add up to 6, not to the total_iters 7"),
    ([*COSINE, "lr_scheduler.restart_weights=[1]"], r"restart_weights has 1 numbers for 2 periods"),
    (["lr_scheduler={name: MultiStepDecay, learning_rate: 1, milestones: [1]}"],
     r"lr_scheduler\.gamma 0\.1: the rate can only be halved"),
    (["lr_scheduler.name=LinearDecay"], r"lr_scheduler\.name 'LinearDecay' is not known"),
    (["export_model.0.name=discriminator"], r"export_model\.0\.name 'discriminator'"),
    (["model=7"], "model: expected keys and values, not 7"),
    ([f"{PIPELINE}.9.name=x"], r"pipeline is a list of 6, counted from 0; there is no '9'"),
    (["total_iters.x=1"], "total_iters is 1000000 and has nothing inside"),
    (["total_iters"], "expected key.key=value"),
])
def test_mistakes_are_named(folder, settings, words):
    with pytest.raises(UserError, match=words) as error:
        read_yaml(*settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("setting, words", [
    ("model.discriminator=null", r"model\.discriminator is missing"),
    ("model.discriminator.num_feat=32", r"num_feat 32 and model\.generator\.nf 64 differ"),
    ("model.perceptual_criterion.norm_img=true", r"norm_img True is not possible"),
    ("model.perceptual_criterion.style_weight=1.0", r"style_weight 1\.0 is not possible"),
    ("model.perceptual_criterion.layer_weights={'4': 1.0}", r"layer_weights\.4: torchvision's VGG"),
    ("model.perceptual_criterion.layer_weights={'34': 1.0, '35': 1.0}", "before or all after"),
    ("model.perceptual_criterion.layer_weights={}", "layer_weights names no layer"),
    ("model.perceptual_criterion.layer_weights={'34': x}", "expected named numbers, not"),
    ("model.gan_criterion.gan_mode=hinge", r"gan_mode 'hinge' is not known"),
    ("optimizer.optimD.beta1=0.5", r"optimG\.beta1 0\.9 and optimizer\.optimD\.beta1 0\.5 contra"),
    ("model.pixel_criterion.name=CharbonnierLoss", r"reduction must be 'mean' in ESRGAN"),
    ("model.pixel_criterion.reduction=sum", r"reduction must be 'mean' in ESRGAN"),
    ("optimizer.optimX={name: Adam}", r"unknown key optimizer\.optimX \(did you mean 'optim"),
])
def test_mistakes_of_the_gan_stage_are_named(setting, words):
    with pytest.raises(UserError, match=words):
        translated(gan_values(), setting)


@pytest.mark.parametrize("argv, words", [
    (["-c", "configs/esrgan.yaml", "--scale", "2"], "--scale 2 contradicts the YAML's scale 4"),
    (["-o", "total_iters=6"], "-o total_iters=6 changes a key of PaddleGAN's YAML"),
    (["-c", "configs/esrgan.yaml", "-c", "configs/esrgan.yaml"], "only one of PaddleGAN's YAML"),
    (["--config-file"], "--config-file needs the path"),
    (["-c", "broken.yaml"], "broken.yaml is not YAML"),
    (["--resume", "iter_5000_checkpoint.pdparams"], "start from its weights with --load"),
    (["--load", "lost.pdparams"], "no such file: lost.pdparams"),
    (["--amp", "--amp_level", "O2"], "--amp_level O2"),
])
def test_mistakes_on_the_command_line(folder, argv, words):
    (folder / "broken.yaml").write_text("model: {name: [")
    with pytest.raises(UserError, match=words) as error:
        modelzoo.translate(argv)
    assert "\n" not in str(error.value)


def test_foreign_weights_are_converted_once(folder, monkeypatch, capsys):
    from models import convert as converting

    calls = []

    def convert(name, source, output, scale=None, **options):
        calls.append((name, str(source), scale))
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_bytes(b"h5")

    def load(*argv):
        return re.search(r"--load=(\S+)", " ".join(modelzoo.translate(list(argv)))).group(1)

    monkeypatch.setattr(converting, "convert", convert)
    weights = folder / "esrgan_x4.pth"
    weights.write_bytes(b"one")
    run = folder / "output_dir" / "esrgan_x4.h5"
    run.parent.mkdir()
    run.write_bytes(b"trained")
    argv = ["-c", "configs/esrgan.yaml", "--evaluate-only", "--load", str(weights)]
    first = load(*argv)
    assert re.fullmatch(r"output_dir/cache/esrgan_x4-[0-9a-f]{12}\.h5", first)
    assert load(*argv) == first and calls == [("esrgan", str(weights), 4)]
    assert capsys.readouterr().out.count("converted ") == 1
    weights.write_bytes(b"two")
    os.utime(weights, (1, 1))  # older than what was converted
    second = load(*argv)
    assert second != first and len(calls) == 2 and run.read_bytes() == b"trained"
    assert load("--load", "mine.h5") == "mine.h5"

    (folder / "x2.yaml").write_text(f"scale: 2\noutput_dir: two\nload: {weights}\n")
    for more in ((), ("--load", str(weights))):
        assert load("--config", "x2.yaml", *more).startswith("two/cache/esrgan_x4-")
    assert calls[2:] == [("esrgan", str(weights), 2)]
    for flags in (["--scale", "two"], ["--config", "wrong.yaml"]):
        (folder / "wrong.yaml").write_text("scale: two\n")
        with pytest.raises(UserError, match="--?scale.*two"):
            read(*flags, "--load", str(weights))
    assert len(calls) == 3


# ---- trainings -----------------------------------------------------------------------------------

SMALL = ["model.generator.nb=1", "model.generator.nf=8", "model.generator.gc=4",
         "dataset.train.batch_size=2", "validate.interval=3", "snapshot_config.interval=3",
         "log_config.interval=2"]
COMMAND = ["--config-file", "configs/esrgan.yaml", "--no-cuda", "-o", *SMALL]


@pytest.fixture
def anime(folder, photo):
    """The description's data/animeSR: four images to train on and two to test with."""
    for i in range(6):
        hr = photo()[30 * i:30 * i + 140, 50 * i:50 * i + 144]
        split = "train" if i < 4 else "test"
        for name, image in ((split, hr), (f"{split}_X4", downscale(hr, 4))):
            path = folder / "data" / "animeSR" / name / f"Anime_{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    return folder


def summary(folder, name="output_dir"):
    return json.loads((folder / name / "summary.json").read_text())


def command(capsys, *argv):
    """What the command prints."""
    train.main([str(word) for word in argv])
    return capsys.readouterr().out


def test_the_description_trains_resumes_and_evaluates(anime, capsys):
    first = command(capsys, *COMMAND, "total_iters=6", "enable_visualdl=true")
    assert "4 training and 2 validation images (paired), steps 1 to 6" in first
    assert "Step nr: [6/6]" in first and "TensorBoard logs" in first
    assert summary(anime)["steps"] == 6 and list((anime / "output_dir" / "logs").iterdir())

    on = command(capsys, *COMMAND, "total_iters=9", "--resume", "output_dir/checkpoints")
    assert "resuming after step 6" in on and summary(anime)["steps"] == 9
    evaluated = command(capsys, *COMMAND, "--evaluate-only", "--load", "output_dir/esrgan_x4.h5")
    for image in summary(anime)["images"]:
        line = next(line for line in evaluated.splitlines() if image["name"] in line)
        assert f"{image['psnr']:.2f} dB" in line


def test_paddlegans_weights_are_loaded(anime, capsys, paddle_weights):
    from common import weights

    model = models.create("esrgan", 4, num_blocks=1, num_filters=8, num_growth=4)
    paddle_weights(model, anime / "iter_5_weight.pdparams")
    weights.save(model, anime / "same.h5")
    printed = [command(capsys, *COMMAND, *folder, "--evaluate-only", "--load", source)
               for source, *folder in (("iter_5_weight.pdparams",), ("same.h5",),
                                       ("iter_5_weight.pdparams", "output_dir=other"))]
    tables = [re.findall(r"^(?:Anime|mean).*", text, re.MULTILINE) for text in printed]
    assert len(tables[0]) == 3 and tables[0] == tables[1] == tables[2]
    assert "converted iter_5_weight.pdparams" in printed[2]
    for folder in ("output_dir", "other"):
        assert len(list((anime / folder / "cache").glob("iter_5_weight-*.h5"))) == 1
        assert not list((anime / folder).glob("*.h5"))


@pytest.fixture
def paddle_weights():
    """Write a model's weights as PaddleGAN's iter_*_weight.pdparams: a pickle of NumPy arrays."""
    def write(model, path):
        layers = {layer.name: layer.get_weights() for layer in model.layers if layer.get_weights()}
        names = {"head": "conv_first", "body": "trunk_conv", "upsample0_conv": "upconv1",
                 "upsample1_conv": "upconv2", "hr_conv": "HRconv", "tail": "conv_last"}
        state = {}
        for layer, (kernel, bias) in layers.items():
            part = re.fullmatch(r"block(\d+)_dense(\d)_conv(\d)", layer)
            name = "RRDB_trunk.{}.RDB{}.conv{}".format(*part.groups()) if part else names[layer]
            state[f"{name}.weight"] = np.transpose(kernel, (3, 2, 0, 1))
            state[f"{name}.bias"] = bias
        path.write_bytes(pickle.dumps({"generator": state}, protocol=2))
    return write


def test_the_gan_stage_runs_on_free_folders(anime, capsys, vgg_file):
    """PaddleGAN's esrgan_x4_div2k.yaml, smaller, with folders that do not lie together."""
    values = gan_values()
    (anime / "data" / "animeSR" / "train_X4").rename(anime / "lq")
    values["dataset"]["train"]["lq_folder"] = "lq"
    (anime / "gan.yaml").write_text(yaml.safe_dump(values))
    command(capsys, "-c", "gan.yaml", "--no-cuda", "--vgg_weights", vgg_file, "-o", *SMALL,
            "model.discriminator.num_feat=8", "total_iters=3", f"{PIPELINE}.0.gt_patch_size=64")
    rows = [json.loads(line) for line in (anime / "output_dir" / "metrics.jsonl").open()]
    losses = next(row for row in rows if "adversarial" in row)
    total = 1e-2 * losses["pixel"] + losses["perceptual"] + 5e-3 * losses["adversarial"]
    assert losses["loss"] == pytest.approx(total, rel=1e-4)
    assert {"d_real", "d_fake", "discriminator"} < set(losses)


def test_a_mistake_is_one_line_and_status_2(folder, run):
    done = run(train.__file__, *COMMAND, "dataset.train.lq_foldr=x", cwd=folder)
    assert done.returncode == 2
    assert done.stderr == ("error: unknown key dataset.train.lq_foldr (did you mean 'lq_folder'?)"
                           "\n")


def test_a_folder_that_is_not_there_is_named(anime):
    with pytest.raises(UserError, match="nowhere"):
        train.main([*COMMAND, "dataset.train.lq_folder=nowhere"])
