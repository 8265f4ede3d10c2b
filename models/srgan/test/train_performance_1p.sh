#!/usr/bin/env bash
# Measure SRGAN's training speed in a few hundred steps on one device; --help names the flags.
exec bash "$(dirname "${BASH_SOURCE[0]}")/../../../scripts/modelzoo_test.sh" srgan performance 1p coco --stage=gan "$@"
