"""A run's folder damaged, locked, replaced and short of room; what is not finite in a run."""

import json
import math
import os
import resource
import shutil
import signal

import numpy as np
import pytest
import yaml
from PIL import Image

from common.training import loop
from common.training.checkpoint_files import checkpoints_in
from common.training.events import read_metrics
from common.weights import read_arrays

FLAGS = ["--num_blocks", "1", "--num_filters", "4", "--chip", "cpu", "--patch_size", "12",
         "--batch_size", "2", "--train_steps", "12", "--val_every", "8", "--save_every", "4",
         "--log_every", "4", "--learning_rate", "0.001", "--val_images", "1"]
STATES = ("edsr_x2.h5", "edsr_x2_last.h5")


@pytest.fixture(scope="module")
def command(call, tiny):
    """The training command with few steps: `command(cwd, *flags)`."""
    def run(cwd, *flags):
        return call("models.edsr.train", "--data_dir", tiny, "--output_dir", "run", *FLAGS, *flags,
                    cwd=cwd)
    return run


@pytest.fixture(scope="module")
def whole(command, tmp_path_factory):
    """The folder of a finished run."""
    cwd = tmp_path_factory.mktemp("whole")
    done = command(cwd)
    assert done.returncode == 0, done.stderr
    return cwd / "run"


@pytest.fixture
def train(command, tmp_path):
    """`train(*flags)`: in the test's own folder."""
    return lambda *flags: command(tmp_path, *flags)


@pytest.fixture
def finished(whole, tmp_path):
    """A copy of the finished run."""
    shutil.copytree(str(whole), str(tmp_path / "run"))
    return tmp_path / "run"


@pytest.fixture
def broken(train, tmp_path, monkeypatch):
    """A run that was stopped right after its checkpoint of step 8, before `_last.h5`."""
    with monkeypatch.context() as patch:
        def export(self, done):
            if done == 8:
                raise KeyboardInterrupt

        patch.setattr(loop.Loop, "_export", export)
        assert train().returncode == 130
    assert not (tmp_path / "run" / "edsr_x2_last.h5").exists()
    return tmp_path / "run"


def timeless(folder):
    keys = ("step", "loss", "learning_rate", "val_psnr", "val_ssim")
    return [{key: row[key] for key in keys if key in row}
            for row in read_metrics(folder / "metrics.jsonl")]


def assert_same(folder, whole):
    """The same weights bit for bit, rows, result and data; the pictures can be opened."""
    for name in STATES:
        ours, theirs = read_arrays(folder / name), read_arrays(whole / name)
        assert ours.keys() == theirs.keys() and ours
        assert all(np.array_equal(a, b) for layer in ours
                   for a, b in zip(ours[layer], theirs[layer]))
    assert timeless(folder) == timeless(whole)
    results = [json.loads((path / "summary.json").read_text()) for path in (folder, whole)]
    assert results[0]["images"] == results[1]["images"] and results[0]["steps"] == 12
    assert "seconds_per_step" in results[0]["timing"] and results[0]["seconds"] >= 0
    for name in ("config.yaml", "checkpoints/data.txt"):
        assert (folder / name).read_text() == (whole / name).read_text()
    for name in ("curves.png", "samples/comparison.png"):
        Image.open(str(folder / name)).load()


DAMAGE = {
    "emptied": lambda data: b"",
    "cut off": lambda data: data[:len(data) // 2],
    "flipped": lambda data: (data[:len(data) // 2] + bytes([data[len(data) // 2] ^ 1])
                             + data[len(data) // 2 + 1:]) if data else b"more",
    "another": lambda data: b"[1, 2]\n",
}


def error_line(done, *words):
    """Status 2 and one line that has all the words."""
    assert done.returncode == 2, done.stderr
    line, = (line for line in done.stderr.splitlines() if line.startswith("error: "))
    for word in words:
        assert str(word) in line, line
    return line


@pytest.mark.parametrize("how", DAMAGE)
def test_all_that_a_finished_run_shows_is_made_again(how, finished, whole, train):
    names = [*STATES, "config.yaml", "metrics.jsonl", "summary.json", "curves.png",
             "samples/comparison.png", "checkpoints/data.txt", "checkpoints/checkpoint"]
    for name in names:
        path = finished / name
        path.write_bytes(DAMAGE[how](path.read_bytes()))
    done = train()
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert_same(finished, whole)
    again = train()
    assert "holds a finished run of 12 steps" in again.stdout and "again" not in again.stdout


@pytest.mark.parametrize("name", ["step-12.index", "step-12.json", "step-12.data-00000-of-00001",
                                  "finished.json", "../edsr_x2_last.h5"])
def test_a_finished_run_gets_back_what_was_deleted(name, finished, whole, train):
    (finished / "checkpoints" / name).unlink()
    done = train()
    assert done.returncode == 0 and f"{name.split('/')[-1]}" in done.stdout, done.stderr
    assert_same(finished, whole)


def test_without_any_best_weights_the_last_are_the_result(finished, train):
    (finished / "edsr_x2.h5").unlink()
    for path in (finished / "checkpoints" / "best").iterdir():
        path.write_bytes(b"")
    done = train()
    assert done.returncode == 0 and "the best is looked for anew" in done.stdout, done.stderr
    ours, theirs = (read_arrays(finished / name) for name in STATES)
    assert all(np.array_equal(a, b) for name in ours for a, b in zip(ours[name], theirs[name]))


@pytest.mark.parametrize("how", DAMAGE)
def test_a_run_in_its_midst_believes_nothing_damaged(how, broken, whole, train):
    for name in ("edsr_x2.h5", "config.yaml", "metrics.jsonl", "checkpoints/data.txt",
                 "checkpoints/checkpoint", "checkpoints/step-8.index"):
        path = broken / name
        path.write_bytes(DAMAGE[how](path.read_bytes()))
    for path in broken.rglob("lr_bicubic/*/*.png"):
        path.write_bytes(DAMAGE[how](path.read_bytes()))
    done = train()
    assert done.returncode == 0, done.stderr
    assert "step-8 is damaged" in done.stdout and "trying an older one" in done.stdout
    assert "resuming after step 4" in done.stdout
    assert_same(broken, whole)


def test_a_run_without_any_whole_checkpoint_is_refused_and_kept(broken, train):
    for path in (broken / "checkpoints").glob("step-*"):
        path.write_bytes(b"")
    error_line(train(), "can be restored", "--resume no")
    assert len(checkpoints_in(broken / "checkpoints")) == 2
    (broken / "config.yaml").write_bytes(b"\0")
    error_line(train(), "config.yaml is missing or damaged", "--resume no")


def test_a_folder_in_the_place_of_a_file_is_named(finished, train):
    (finished / "edsr_x2_last.h5").unlink()
    (finished / "edsr_x2_last.h5").mkdir()
    error_line(train(), "run/edsr_x2_last.h5: a folder of that name is there")


def test_the_run_before_stays_until_the_new_one_has_a_checkpoint(finished, whole, train,
                                                                 monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(loop.Loop, "_save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert train("--resume", "no").returncode == 130
        assert (finished / ".previous" / "checkpoints" / "step-12.index").is_file()
        assert train("--resume", "no").returncode == 130
    assert not checkpoints_in(finished / "checkpoints")
    back = train()
    assert "taking back the run" in back.stdout and "finished run" in back.stdout, back.stderr
    assert_same(finished, whole)
    assert train("--resume", "no", "--train_steps", "4").returncode == 0
    assert not (finished / ".previous").exists()
    assert [path.name for path in checkpoints_in(finished / "checkpoints")] == ["step-4"]


def test_what_a_refusal_advises_works(finished, whole, train):
    line = error_line(train("--learning_rate", "0.002", "--batch_size", "4"),
                      "batch_size was 2 and is 4", "learning_rate was 0.001 and is 0.002",
                      "--output_dir NEW --resume run")
    flags = line[line.index("--output_dir NEW"):].split(",")[0].replace("NEW", "new").split()
    more = ["--learning_rate", "0.002", "--batch_size", "4", *flags]
    done = train(*more, "--train_steps", "16")
    assert done.returncode == 0 and "resuming after step 12" in done.stdout, done.stderr
    new = finished.parent / "new"
    assert [row["step"] for row in read_metrics(new / "metrics.jsonl")] == [16, 16]
    assert json.loads((new / "summary.json").read_text())["steps"] == 16
    assert yaml.safe_load((new / "config.yaml").read_text())["learning_rate"] == 0.002
    shutil.rmtree(str(new))
    done = train(*more)  # it has its steps already
    assert done.returncode == 0 and "nothing is trained" in done.stdout, done.stderr
    ours, theirs = (read_arrays(path / "edsr_x2_last.h5") for path in (new, whole))
    assert all(np.array_equal(a, b) for name in ours for a, b in zip(ours[name], theirs[name]))
    line = error_line(train("--num_blocks", "2"), "choose another --output_dir, or --resume no")
    assert "NEW" not in line


def test_changed_content_of_an_image_is_seen(finished, tiny, command, tmp_path):
    photos = tmp_path / "photos"
    shutil.copytree(str(tiny), str(photos))
    (finished / "summary.json").unlink()
    assert command(tmp_path, "--data_dir", photos).returncode == 0  # the same in another place
    path = photos / "astronaut.png"
    stat = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(str(path), ns=(stat.st_atime_ns, stat.st_mtime_ns))
    error_line(command(tmp_path, "--data_dir", photos), "other training images", "--resume no")


def limited(size):
    """Within `with`, no file can be larger."""
    class Limit:
        def __enter__(self):
            self.before = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, self.before[1]))

        def __exit__(self, *_):
            resource.setrlimit(resource.RLIMIT_FSIZE, self.before)
    return Limit()


@pytest.mark.parametrize("size, name", [(15_000, "checkpoints/step-4"), (30_000, "_last.h5")])
def test_without_room_a_run_ends_with_one_line_and_goes_on_later(size, name, train, whole,
                                                                 tmp_path):
    train("--evaluate_only")  # nothing to evaluate, but TensorFlow is there
    with limited(size):
        done = train()
    error_line(done, "cannot write", name, "File too large; make room and repeat the command")
    assert "Traceback" not in done.stderr
    assert not [path for path in tmp_path.rglob("*") if ".tmp-" in path.name]
    assert train().returncode == 0
    assert_same(tmp_path / "run", whole)


def test_max_minutes_stops_like_a_signal(train, whole, tmp_path):
    done = train("--max_minutes", "1e-9")
    assert done.returncode == 128 + signal.SIGTERM
    assert "stopped after step 1; the same command goes on from there" in done.stdout
    assert train().returncode == 0
    folder = tmp_path / "run"
    assert [row["step"] for row in timeless(folder)][:2] == [1, 4]
    for name in STATES:
        ours, theirs = read_arrays(folder / name), read_arrays(whole / name)
        assert all(np.array_equal(a, b) for layer in ours
                   for a, b in zip(ours[layer], theirs[layer]))


@pytest.fixture
def poisoned(monkeypatch):
    """Make the weights of some steps NaN, those of 12 whose number is in `poisoned.steps`."""
    from common.training.turns import Turns

    take = Turns.__call__

    class Poison:
        steps = set()

    def call_(self, *arguments):
        take(self, *arguments)
        Poison.done += 1
        if Poison.done in Poison.steps:
            for variable in (self._step.trained.trainable_variables[0], self._window.sums):
                variable.assign(variable * math.nan)

    begin = loop.Loop._fit

    def fit(self, signals):
        Poison.done = self.start
        return begin(self, signals)

    monkeypatch.setattr(Turns, "__call__", call_)
    monkeypatch.setattr(loop.Loop, "_fit", fit)
    return Poison


def kill_after(monkeypatch, step):
    """Let a run end right after the checkpoint of a step."""
    save = loop.Loop._save

    def killed(self, done):
        save(self, done)
        if done == step:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop.Loop, "_save", killed)


@pytest.mark.parametrize("policy, said", [("skip", "left out 1 steps that were not finite"),
                                          ("rollback", "going on with the weights of step 4")])
def test_a_run_goes_on_after_nan_and_can_be_resumed(policy, said, poisoned, train, tmp_path,
                                                    monkeypatch):
    poisoned.steps = {6}
    done = train("--on_nan", policy)
    assert done.returncode == 0 and said in done.stdout, done.stderr
    (tmp_path / "run").rename(tmp_path / "unbroken")
    text = (tmp_path / "unbroken" / "metrics.jsonl").read_text()
    assert "NaN" not in text and "Infinity" not in text
    for at in (4, 8):
        with monkeypatch.context() as patch:
            kill_after(patch, at)
            assert train("--on_nan", policy).returncode == 130
        assert train("--on_nan", policy).returncode == 0
        for name in STATES:
            ours, theirs = (read_arrays(tmp_path / run / name) for run in ("run", "unbroken"))
            assert all(np.isfinite(a).all() and np.array_equal(a, b) for layer in ours
                       for a, b in zip(ours[layer], theirs[layer]))
        assert timeless(tmp_path / "run") == timeless(tmp_path / "unbroken")
        shutil.rmtree(str(tmp_path / "run"))


def test_advice_after_nan_can_be_followed(poisoned, train, tmp_path):
    poisoned.steps = {3}
    error_line(train(), "not finite by step 4", "no checkpoint yet", "--clip global_norm")
    poisoned.steps = {6}
    line = error_line(train(), "a loss is not finite by step 8", "the checkpoint of step 4 is kept",
                      "--output_dir NEW --resume run", "--on_nan skip or rollback")
    assert "float32" not in line
    done = train("--output_dir", "new", "--resume", "run", "--clip", "global_norm", "--on_nan",
                 "skip")
    assert done.returncode == 0, done.stderr
    done = train("--on_nan", "skip")
    assert done.returncode == 0 and "resuming after step 4" in done.stdout, done.stderr
    poisoned.steps = set(range(1, 101))
    (tmp_path / "run").rename(tmp_path / "other")
    error_line(train("--on_nan", "skip", "--train_steps", "200", "--val_every", "200",
                     "--save_every", "200", "--log_every", "20"), "by step 100, was finite")


def test_images_too_small_for_the_metric_are_named_before_the_first_step(train, tmp_path, photo):
    small = tmp_path / "small"
    small.mkdir()
    for name, side in (("a", 13), ("b", 40), ("c", 12)):
        Image.fromarray(photo(side, side)).save(str(small / f"{name}.png"))
    flags = ["--val_dir", small, "--dataset", "folder", "--val_images", "0"]
    line = error_line(train(*flags), "too small", "a.png (12x12 at x2", "c.png (12x12",
                      "--val_crop_border")
    assert "b.png" not in line and not (tmp_path / "run" / "train.log").exists()
    assert train(*flags, "--val_crop_border", "0", "--train_steps", "1").returncode == 0


def test_a_flat_image_does_not_make_the_mean_infinite(train, tmp_path, photo):
    folder = tmp_path / "val"
    folder.mkdir()
    Image.new("RGB", (40, 40), (0, 0, 0)).save(str(folder / "flat.png"))
    Image.fromarray(photo(40, 40)).save(str(folder / "photo.png"))
    done = train("--val_dir", folder, "--dataset", "folder", "--val_images", "0")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "run" / "summary.json").read_text()
    flat = json.loads(text)["images"][0]
    assert flat["name"] == "flat" and flat["bicubic_psnr"] is None and "Infinity" not in text
    assert all(math.isfinite(row["val_psnr"]) for row in timeless(tmp_path / "run")
               if "val_psnr" in row)
    assert "inf dB" in done.stdout and "nan" not in done.stdout
    table = done.stdout[done.stdout.index("image  "):].splitlines()
    assert "inf" not in next(line for line in table if line.startswith("mean"))
    assert train("--val_dir", folder, "--dataset", "folder").stdout.count("inf dB")
