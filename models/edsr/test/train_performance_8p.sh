#!/usr/bin/env bash
# Measure this model's training speed in a few hundred steps on eight NPUs or all GPUs; --help lists the flags.
exec bash "$(dirname "${BASH_SOURCE[0]}")/../../../scripts/start.sh" "${BASH_SOURCE[0]}" "$@"
