#!/usr/bin/env bash
# Train SRDRM and SRDRM-GAN in full on one device; --help names the flags.
exec bash "$(dirname "${BASH_SOURCE[0]}")/../../../scripts/modelzoo_test.sh" srdrm full 1p paper "$@"
