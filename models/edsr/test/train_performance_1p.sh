#!/usr/bin/env bash
# Measure EDSR's training speed in a few hundred steps on one device; --help names the flags.
exec bash "$(dirname "${BASH_SOURCE[0]}")/../../../scripts/modelzoo_test.sh" edsr performance 1p modelzoo "$@"
