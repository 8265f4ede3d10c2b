import common  # noqa: F401 - Ctrl-C has no traceback from here on
