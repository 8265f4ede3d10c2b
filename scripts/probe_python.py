"""Tell scripts/setup.sh what the Python that runs this file has; it runs on any Python, 2 too.

    python probe_python.py main|ascend|tf1 REQUIREMENTS...

prints `key value` lines: version, executable, prefix, packages (site-packages of a virtual
environment, or -), venv (yes/no: can make one), tensorflow (version or -), fits (yes/no: that
TensorFlow is the stack's), missing (requirements whose module is not found).
`python probe_python.py --constraints` prints name==version of every installed distribution.
"""

import os
import re
import sys

# Where the name of the module is not that of the distribution with underscores.
MODULES = {
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "protobuf": "google.protobuf",
    "pyyaml": "yaml",
    "scikit-image": "skimage",
}
TENSORFLOW_NAMES = ("tensorflow", "tensorflow-cpu", "tensorflow-gpu", "tensorflow-aarch64",
                    "tensorflow-cpu-aws", "tensorflow-intel", "tensorflow-macos",
                    "tensorflow-rocm", "tf-nightly", "intel-tensorflow")


def main(arguments):
    # This file's folder must not answer for a package of the same name.
    sys.path[:] = [p for p in sys.path if p != os.path.dirname(os.path.abspath(__file__))]
    if arguments[0] == "--constraints":
        write_constraints()
        return
    stack, files = arguments[0], arguments[1:]
    put("version", ".".join(str(n) for n in sys.version_info[:3]))
    put("executable", sys.executable)
    put("prefix", sys.prefix)
    if sys.version_info < (3, 7):
        put("venv", "no")
        return
    in_venv = sys.prefix != sys.base_prefix
    put("packages", site_packages() if in_venv else "-")
    put("venv", "yes" if has("venv") and has("ensurepip") else "no")
    tensorflow = tensorflow_version()
    put("tensorflow", tensorflow or "-")
    put("fits", "yes" if tensorflow and fits(stack, tensorflow) else "no")
    put("missing", " ".join(missing(stack, files)))


def put(key, value):
    sys.stdout.write(key + " " + value + "\n")


def site_packages():
    import sysconfig

    return sysconfig.get_path("purelib")


def has(module):
    from importlib.util import find_spec

    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def installed_version(name):
    if sys.version_info >= (3, 8):
        from importlib import metadata

        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            return None
    import pkg_resources

    try:
        return pkg_resources.get_distribution(name).version
    except pkg_resources.DistributionNotFound:
        return None


def tensorflow_version():
    if not has("tensorflow"):
        return None
    for name in TENSORFLOW_NAMES:
        version = installed_version(name)
        if version:
            return version
    return imported_version()  # a build of its own name, as some images have


def imported_version():
    import subprocess

    code = "import sys, tensorflow; sys.stdout.write('\\nversion=' + tensorflow.__version__)"
    try:
        out = subprocess.check_output([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError):
        return None
    return out.decode("utf-8", "replace").rsplit("version=", 1)[-1].strip()


def fits(stack, tensorflow):
    if stack == "ascend":
        return tensorflow.startswith("2.6.") and sys.version_info[:2] in ((3, 7), (3, 8), (3, 9))
    if stack == "tf1":
        return tensorflow.startswith("1.15.")
    keras = installed_version("keras") if tensorflow.startswith("2.21.") else None
    return bool(keras) and keras.startswith("3.")


def missing(stack, files):
    lacking = []
    for path in files:
        with open(path) as file:
            for line in file:
                spec, _, marker = line.split("#")[0].partition(";")
                spec = spec.strip()
                if not applies(marker):
                    continue
                name = spec.split("==")[0].strip().lower()
                module = MODULES.get(name, name.replace("-", "_"))
                if spec and name != "tensorflow" and not has(module):
                    lacking.append(spec)
    return lacking


def applies(marker):
    """Whether a marker, python_version compared with one version, holds for this Python."""
    compared = re.match(r"""\s*python_version\s*(>=|<)\s*["'](\d+)\.(\d+)["']\s*$""", marker)
    if not compared:
        return True
    newer = sys.version_info[:2] >= (int(compared.group(2)), int(compared.group(3)))
    return newer == (compared.group(1) == ">=")


def write_constraints():
    if sys.version_info >= (3, 8):
        from importlib import metadata

        found = [(d.metadata["Name"], d.version) for d in metadata.distributions()]
    else:
        import pkg_resources

        found = [(d.project_name, d.version) for d in pkg_resources.working_set]
    versions = {}
    for name, version in found:
        if name and version and name.lower() not in ("pip", "setuptools", "wheel"):
            versions.setdefault(name, version)  # the first on the path is the one that is imported
    for name in sorted(versions):
        sys.stdout.write(name + "==" + versions[name] + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
