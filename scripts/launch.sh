#!/usr/bin/env bash
# Start several processes that train together on this machine, and end all when one is lost:
# `bash scripts/launch.sh --workers 2 python -m models.edsr.train ...`; see docs/distributed.md.
exec bash "$(dirname "${BASH_SOURCE[0]}")/run_module.sh" scripts.launch "$@"
