"""The boot file of a ModelArts job: `python modelarts_entry.py --model M [--mode MODE] [flags]`.

`--data_url` and `--train_url` are folders that ModelArts keeps in step with a bucket, or in older
jobs obs:// addresses. Of those the data are copied to `--modelarts_data_dir`, and what the command
writes goes to `--modelarts_result_dir` and from there to the bucket: every `--copy_every` seconds,
and at the end however it ends. What an earlier job left at the address is fetched first, so that
the same job started again goes on where that one was (`--resume no` starts over).

The exit status is the command's; SIGTERM and Ctrl-C are passed on to it. It runs in the Python
that runs this file, or where packages are missing in an environment that `scripts/setup.sh` makes
on top of it.
"""

import argparse
import contextlib
import importlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

if __name__ == "__main__":  # by a file of another folder, too
    sys.path.insert(0, str(Path(__file__).resolve().parent))

import models
from common.cli import UserError, one_line, run_command, unknown
from common.files import atomic_folder, make_folder, write_text
from common.modelzoo.report import final_lines, measured

ROOT = Path(__file__).resolve().parent
OBS = "obs://"
DATA_URL = "/home/ma-user/modelarts/inputs/data_url_0"
TRAIN_URL = "/home/ma-user/modelarts/outputs/train_url_0/"
ENVIRONMENT = {"JOB_ID": "10087", "ASCEND_DEVICE_ID": "0"}
ONE_DEVICE = {"RANK_SIZE": "1", "RANK_ID": "0"}
CLUSTERS = ("CM_WORKER_SIZE", "TF_CONFIG")  # say themselves who is who

# A few hundred steps from the beginning, with one validation image at their end.
PERF = {"--resume": "no", "--train_steps": "200", "--val_every": "1000000", "--val_images": "1",
        "--log_every": "20"}
PERF_FOLDER = "perf"  # in the results' folder, whose own run stays as it is
SUFFIXES = {"onnx": ".onnx", "frozen_pb": ".pb", "litert": ".tflite"}  # others are folders


def main(argv):
    """Fetch, run, copy back; the status is the command's, or 1 where only the copying failed."""
    arguments, passed = _read(argv)
    file = _moxing_file(arguments)
    python = _interpreter()
    data_dir = _fetch_data(arguments, passed, file)
    bucket = None
    if arguments.train_url.startswith(OBS):
        bucket = Bucket(file, arguments.train_url, arguments.modelarts_result_dir)
        bucket.fetch()
        folder = bucket.folder
    else:
        folder = make_folder(arguments.train_url)
    folder = Path(os.path.abspath(folder))
    command = [python, "-m", *_module(arguments, passed, data_dir, folder)]
    say(f"running: {' '.join(map(shlex.quote, command))}")
    run = folder / PERF_FOLDER if arguments.mode == "perf" else folder
    before = _state(run / "summary.json")
    with Child() as child:
        status = child.run(command, bucket and bucket.try_to_send, arguments.copy_every)
        say(f"{arguments.mode} ended with status {status}")
        if status == 0 and arguments.mode in ("train", "perf"):
            _print_results(run, before)
        if bucket:
            try:
                bucket.send()
            except UserError as error:
                print(f"error: {error}; the results stay in {bucket.folder}", file=sys.stderr)
                return status or 1
    return status


def say(text):
    """Print a line as ModelZoo's entries do."""
    print(f"[CANN-Modelzoo] {text}", flush=True)


class Child:
    """A command in a session of its own; within `with`, SIGTERM and Ctrl-C are passed on to it.

    After its end they are taken and do nothing, so that the results can still be copied.
    """

    def __init__(self):
        self._process, self._early = None, None

    def __enter__(self):
        self._before = {s: signal.signal(s, self._pass_on)
                        for s in (signal.SIGTERM, signal.SIGINT)}
        # Moxing copies by a pool of processes, which SIGTERM ends; Python drops a signal that a
        # fork's handler takes before Python is set up there, and the pool would wait for ever.
        os.register_at_fork(before=self._hold, after_in_parent=self._release,
                            after_in_child=lambda: (self._restore(), self._release()))
        return self

    def __exit__(self, *_):
        if self._process and self._process.poll() is None:
            self._process.terminate()
            self._process.wait()
        self._restore()

    def run(self, command, each, seconds):
        """Run a command to its end and return its status, 128 + N where signal N ended it.

        `each()` is called every so many seconds, if given.
        """
        # In the caller's session a Ctrl-C would reach it twice, and the second one ends it at once.
        self._process = subprocess.Popen(command, env=_environment(), start_new_session=True)
        if self._early:
            self._process.send_signal(self._early)
        while True:
            try:
                status = self._process.wait(seconds if each else None)
                return 128 - status if status < 0 else status
            except subprocess.TimeoutExpired:
                each()

    def _hold(self):
        signal.pthread_sigmask(signal.SIG_BLOCK, self._before)

    def _release(self):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self._before)

    def _restore(self):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _pass_on(self, number, _):
        if self._process:
            self._process.send_signal(number)
        else:
            self._early = number


class Bucket:
    """The results at an obs:// address and in a local folder.

    Args:
        file: `moxing.file`.
        address: obs://...
        folder: where the command writes. What it prepares there for its own use (`cache/`) and what
            is not whole yet stays out of the bucket; checkpoints that it deletes are deleted there.
    """

    def __init__(self, file, address, folder):
        self.folder = Path(folder)
        self._file, self._address = file, address.rstrip("/")
        self._sent = {}

    def fetch(self):
        """Fill the folder with what an earlier job left, unless it still has it.

        Raises:
            UserError: the folder has other files, or moxing failed.
        """
        source = self.folder / ".train_url"
        if self.folder.is_dir() and any(path != source for path in self.folder.iterdir()):
            before = source.read_text().strip() if source.is_file() else "another job"
            if before != self._address:
                raise UserError(f"{self.folder} holds files of {before}; empty it or choose "
                                "another --modelarts_result_dir")
            say(f"going on with the results in {self.folder}")
            return
        with _moxing(f"{self._address} was not fetched"):
            held = self._file.exists(self._address) and self._file.list_directory(self._address)
        if held:
            with atomic_folder(self.folder) as temporary, \
                    _moxing(f"{self._address} was not fetched"):
                self._file.copy_parallel(src_url=self._address, dst_url=str(temporary))
            self._sent = self._present()
            say(f"{len(self._sent)} files of an earlier job fetched from {self._address}")
        write_text(source, self._address + "\n")

    def try_to_send(self):
        """`send`, with a line where it fails: the next time may do better."""
        try:
            self.send()
        except UserError as error:
            say(f"{error}; this is tried again")

    def send(self):
        """Copy the files that are new or have changed.

        Raises:
            UserError: it failed.
        """
        present = self._present()
        with _moxing(f"results were not copied to {self._address}"), \
                tempfile.TemporaryDirectory(prefix=".sending-", dir=str(self.folder)) as staged:
            changed = [name for name, state in present.items() if self._sent.get(name) != state]
            for name in changed:
                # The command goes on writing and deleting while moxing copies.
                (Path(staged) / name).parent.mkdir(parents=True, exist_ok=True)
                try:
                    shutil.copy2(str(self.folder / name), str(Path(staged) / name))
                except FileNotFoundError:
                    del present[name]
            changed = [name for name in changed if name in present]
            if changed:
                self._file.copy_parallel(src_url=staged, dst_url=self._address)
            for name in self._sent:
                if name not in present and "checkpoints" in Path(name).parts:
                    self._file.remove(f"{self._address}/{name}", recursive=False)
        self._sent = present
        if changed:
            say(f"{len(changed)} files copied to {self._address}")

    def _present(self):
        """{relative path: (time of the last change, size)} of the files that are whole."""
        present = {}
        for folder, folders, names in os.walk(str(self.folder)):
            folders[:] = [name for name in folders
                          if name != "cache" and not name.startswith(".")
                          and not name.endswith("_temp")]
            for name in names:
                if name.startswith(".") or ".tmp" in name or ".tempstate" in name:
                    continue
                path = Path(folder) / name
                with contextlib.suppress(FileNotFoundError):
                    state = path.stat()
                    present[path.relative_to(self.folder).as_posix()] = (state.st_mtime_ns,
                                                                         state.st_size)
        return present


# ---- what there is to do ------------------------------------------------------------------------

class _Parser(argparse.ArgumentParser):
    def error(self, message):
        raise UserError(f"{message}; see --help")


def _read(argv):
    """The entry's own options, and the rest of the flags in their order."""
    parser = _Parser(prog="python modelarts_entry.py", allow_abbrev=False,
                     description="Run a command of the zoo as a ModelArts job. All other flags are "
                                 "passed on to it.")
    parser.add_argument("--model", required=True, metavar="M", help=", ".join(models.available()))
    parser.add_argument("--mode", default="train", choices=("train", "perf", "evaluate", "export"),
                        help="train (the default); perf: 200 steps of it anew, in perf/ of the "
                             "results; evaluate: scripts.evaluate; export: scripts.export, "
                             "saved_model unless --format says")
    parser.add_argument("--data_url", metavar="D", help=f"folder or obs:// address of the data; "
                                                        f"default: {DATA_URL}")
    parser.add_argument("--train_url", metavar="T", default=TRAIN_URL,
                        help="folder or obs:// address of the results; default: %(default)s")
    parser.add_argument("--modelarts_data_dir", metavar="DIR", default="/cache/data_url",
                        help="where data of an obs:// address are copied; default: %(default)s")
    parser.add_argument("--modelarts_result_dir", metavar="DIR", default="/cache/result",
                        help="where results for an obs:// address are written first; default: "
                             "%(default)s")
    parser.add_argument("--copy_every", metavar="N", type=float, default=300,
                        help="seconds between copies to an obs:// address; default: %(default)s")
    arguments, passed = parser.parse_known_args(argv)
    if arguments.model not in models.available():
        raise unknown("model", arguments.model, models.available())
    if not arguments.copy_every > 0:
        raise UserError(f"--copy_every {arguments.copy_every:g}: seconds, more than 0")
    for flag, url in (("--data_url", arguments.data_url), ("--train_url", arguments.train_url)):
        if url and "://" in url and not url.startswith(OBS):
            raise UserError(f"{flag} {url}: give a folder or an {OBS} address")
    if _value(passed, "--output_dir") is not None:
        raise UserError("--output_dir: the results go to --train_url; leave it out")
    return arguments, passed


def _moxing_file(arguments):
    """`moxing.file` where an address needs it; it exists only on ModelArts."""
    address = next((url for url in (arguments.data_url, arguments.train_url)
                    if url and url.startswith(OBS)), None)
    if address is None:
        return None
    try:
        return importlib.import_module("moxing").file
    except ImportError as error:
        raise UserError(f"{address} needs moxing, which ModelArts images have ({error}); name a "
                        "folder, or run this there") from error


def _interpreter():
    """A Python with the zoo's packages: this one, or what setup.sh makes on top of it."""
    stack = "main" if sys.version_info >= (3, 10) else "ascend"
    setup = subprocess.run(
        ["bash", str(ROOT / "scripts" / "setup.sh"), "--stack", stack, "--python"],
        env={**os.environ, "PYTHON": sys.executable}, stdout=subprocess.PIPE)
    if setup.returncode:
        sys.exit(setup.returncode)  # it has said why
    return setup.stdout.decode().strip()


def _fetch_data(arguments, passed, file):
    """The folder of the data, None where the command needs none or is told of it by other flags."""
    url = arguments.data_url
    if url and url.startswith(OBS) and arguments.mode != "export":
        folder = make_folder(arguments.modelarts_data_dir)
        say(f"fetching {url} to {folder}")
        with _moxing(f"{url} was not fetched"):
            if not file.exists(url):
                raise UserError(f"nothing at {url}; correct --data_url")
            file.copy_parallel(src_url=url, dst_url=str(folder))
        return folder
    named = any(_value(passed, flag) is not None
                for flag in ("--data_dir", "--input_dir", "--gt_folder"))
    if arguments.mode == "export" or named or _value(passed, "--dataset") == "demo":
        return None
    if not Path(url or DATA_URL).is_dir():
        raise UserError(f"no folder {url or DATA_URL}; name the data with --data_url")
    return Path(url or DATA_URL)


def _module(arguments, passed, data_dir, folder):
    """The module to run and its flags; those passed on come last, where they count."""
    model, data = arguments.model, ["--data_dir", str(data_dir)] if data_dir else []
    if arguments.mode in ("train", "perf"):
        defaults = {}
        if arguments.mode == "perf":
            defaults, folder = dict(PERF), folder / PERF_FOLDER
            if models.model(model).stages:
                defaults["--psnr_steps"] = "1"  # what is measured is the GAN's stage
            if any(_value(passed, flag) is not None for flag in ("--epochs", "-e")):
                del defaults["--train_steps"]
        flags = [word for flag, value in defaults.items() for word in (flag, value)]
        return [f"models.{model}.train", *data, "--output_dir", str(folder), *flags, *passed]
    weights = _value(passed, "--weights") or _trained(model, _value(passed, "--scale"), folder)
    chosen = ["--model", model, *(["--weights", str(weights)] if weights else [])]
    if arguments.mode == "evaluate":
        return ["scripts.evaluate", *chosen, *data, "--json", str(folder / "evaluate.json"),
                "--save_images", str(folder / "images"), *passed]
    kind = _value(passed, "--format") or "saved_model"
    name = (Path(weights).stem if weights else model) + SUFFIXES.get(kind, f"_{kind}")
    return ["scripts.export", *chosen, "--format", kind, "--output", str(folder / name), *passed]


def _trained(model, scale, folder):
    """The best weights of a training among the results, None where there are none.

    Raises:
        UserError: there are several.
    """
    found = sorted(path for path in folder.glob(f"{model}_x*.h5")
                   if not path.stem.endswith("_last"))
    if len(found) > 1:
        found = [path for path in found if path.stem == f"{model}_x{scale}"] or found
    if len(found) > 1:
        raise UserError(f"{folder} holds {', '.join(path.name for path in found)}; choose one with "
                        "--scale or --weights")
    return found[0] if found else None


def _state(path):
    """What changes when a file is written again; None where it is not."""
    try:
        state = path.stat()
    except FileNotFoundError:
        return None
    return state.st_mtime_ns, state.st_ino, state.st_size


def _print_results(run, before):
    """The final lines of ModelZoo's scripts, if the run has written its summary anew."""
    now = _state(run / "summary.json")
    if now == before:
        if now:  # of an earlier job; without one: --evaluate_only, or not the rank that writes
            say(f"nothing was trained: the results in {run} are an earlier job's")
        return
    numbers = measured(run)
    if numbers["seconds_per_step"] is None:
        say("the first step is not timed: no performance of a single one")
    print(*final_lines(numbers, numbers["seconds"]), sep="\n", flush=True)


def _environment():
    """The command's: the zoo before the folder it is called from, and Ascend's variables."""
    wanted = dict(ENVIRONMENT)
    if not any(os.environ.get(name) for name in CLUSTERS):
        wanted.update(ONE_DEVICE)
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, **{name: os.environ.get(name) or value
                             for name, value in wanted.items()},
            "PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1"}


@contextlib.contextmanager
def _moxing(what):
    """Errors within are `UserError`s: moxing raises those of whatever library it uses."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{what}: {type(error).__name__}: {one_line(error)}") from error


def _value(passed, flag):
    """The last value of a flag among those passed on, "" without one, None if it is not there."""
    value = None
    for i, word in enumerate(passed):
        if word == flag:
            value = passed[i + 1] if i + 1 < len(passed) else ""
        elif word.startswith(f"{flag}="):
            value = word[len(flag) + 1:]
    return value


if __name__ == "__main__":
    run_command(main)
