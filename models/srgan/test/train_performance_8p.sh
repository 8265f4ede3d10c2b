#!/usr/bin/env bash
# Measure SRGAN's training speed in a few hundred steps on eight NPUs or all GPUs; --help names the flags.
exec bash "$(dirname "${BASH_SOURCE[0]}")/../../../scripts/modelzoo_test.sh" srgan performance 8p coco --stage=gan "$@"
