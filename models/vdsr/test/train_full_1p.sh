#!/usr/bin/env bash
# Train VDSR in full on one device; --help names the flags.
exec bash "$(dirname "${BASH_SOURCE[0]}")/../../../scripts/modelzoo_test.sh" vdsr full 1p paper "$@"
