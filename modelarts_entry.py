"""The boot file of a ModelArts job: `python modelarts_entry.py --model M [--mode MODE] [flags]`.

`--data_url` and `--train_url` are folders that ModelArts keeps in step with a bucket, or in older
jobs obs:// addresses. From an address the data are copied to `--modelarts_data_dir`; results for an
address are written to `--modelarts_result_dir` and copied to the bucket every `--copy_every`
seconds, and once more when the command ends, however it ends. What an earlier job left at the
address is fetched first, so that the same job started again resumes (`--resume no` starts over).

The exit status is the command's; SIGTERM and Ctrl-C are passed on to it. It runs in the Python that
runs this file, or where packages are missing in an environment that `scripts/setup.sh` makes on top
of it. This file itself needs no packages.
"""

import argparse
import os
import shlex
import sys
from pathlib import Path

if __name__ == "__main__":  # by a file of another folder, too
    sys.path.insert(0, str(Path(__file__).resolve().parent))

import models
from common.cli import UserError, run_command
from common.files import make_folder
from common.modelzoo.bucket import OBS, Bucket, fetch, moxing_file
from common.modelzoo.environment import ONE_DEVICE, ROOT, with_defaults, zoo_python
from common.modelzoo.flags import has, value_of
from common.modelzoo.job import PERF_FOLDER, job_command
from common.modelzoo.report import NewResults, say
from common.modelzoo.supervise import Child, Supervisor

DATA_URL = "/home/ma-user/modelarts/inputs/data_url_0"
TRAIN_URL = "/home/ma-user/modelarts/outputs/train_url_0/"
CLUSTERS = ("CM_WORKER_SIZE", "TF_CONFIG")  # say themselves which process is which


def main(argv):
    """Fetch, run, copy back; the status is the command's, or 1 where only the copying failed."""
    arguments, passed = _read(argv)
    file = moxing_file(arguments.data_url, arguments.train_url)
    python = zoo_python("main" if sys.version_info >= (3, 10) else "ascend", sys.executable)
    data_dir = _data_dir(arguments, passed, file)
    bucket = None
    if arguments.train_url.startswith(OBS):
        bucket = Bucket(file, arguments.train_url, arguments.modelarts_result_dir)
        bucket.fetch()
    folder = Path(os.path.abspath(bucket.folder if bucket else make_folder(arguments.train_url)))
    command = [python, "-m", *job_command(models.model(arguments.model), arguments.mode, data_dir,
                                          folder, passed)]
    say(f"running: {' '.join(map(shlex.quote, command))}")
    results = NewResults(folder / PERF_FOLDER if arguments.mode == "perf" else folder)
    with Supervisor() as supervisor:
        status = supervisor.run([Child(command, _environment())],
                                call=bucket and bucket.try_to_send, every=arguments.copy_every)
        say(f"{arguments.mode} ended with status {status}")
        if status == 0 and arguments.mode in ("train", "perf"):
            results.print_lines()
        if bucket:
            try:
                bucket.send()
            except UserError as error:
                print(f"error: {error}; the results stay in {bucket.folder}", file=sys.stderr)
                return status or 1
    return status


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
                        help="train (the default); perf: train 200 steps anew, in perf/ of the "
                             "results; evaluate: scripts.evaluate; export: scripts.export, to a "
                             "SavedModel unless --format is given")
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
    models.model(arguments.model)
    if not arguments.copy_every > 0:
        raise UserError(f"--copy_every must be more than 0 seconds, got {arguments.copy_every:g}")
    for flag, url in (("--data_url", arguments.data_url), ("--train_url", arguments.train_url)):
        if url and "://" in url and not url.startswith(OBS):
            raise UserError(f"{flag} {url}: give a folder or an {OBS} address")
    if has(passed, "--output_dir"):
        raise UserError("--output_dir: the results go to --train_url; leave it out")
    return arguments, passed


def _data_dir(arguments, passed, file):
    """The folder of the data; None where the command needs none or other flags name it."""
    url = arguments.data_url
    if arguments.mode != "export" and url and url.startswith(OBS):
        return fetch(file, url, arguments.modelarts_data_dir)
    named = has(passed, "--data_dir", "--input_dir", "--gt_folder")
    if arguments.mode == "export" or named or value_of(passed, "--dataset") == "demo":
        return None
    if not Path(url or DATA_URL).is_dir():
        raise UserError(f"no folder {url or DATA_URL}; name the data with --data_url")
    return Path(url or DATA_URL)


def _environment():
    """The command's: Ascend's variables, and the zoo before the folder it is called from."""
    several = any(os.environ.get(name) for name in CLUSTERS)
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**with_defaults({name: value for name, value in ONE_DEVICE.items()
                             if not (several and name.startswith("RANK"))}),
            "PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1"}


if __name__ == "__main__":
    run_command(main)
