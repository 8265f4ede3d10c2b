#!/usr/bin/env bash
# Enlarge images with BSRN: `bash models/bsrn/scripts/test.sh --weights W [--scale S] IN... [flags of scripts.upscale]`.
# The results go to result-pictures/ensemble unless -o is given.
exec bash "$(dirname "${BASH_SOURCE[0]}")/../../../scripts/run_module.sh" scripts.upscale --model bsrn \
  -o result-pictures/ensemble "$@"
