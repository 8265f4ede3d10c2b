#!/usr/bin/env bash
# Measure VDSR's training speed in a few hundred steps on eight NPUs or all GPUs; --help names the flags.
exec bash "$(dirname "${BASH_SOURCE[0]}")/../../../scripts/modelzoo_test.sh" vdsr performance 8p paper "$@"
