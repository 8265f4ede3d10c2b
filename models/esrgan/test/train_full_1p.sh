#!/usr/bin/env bash
# Train RRDBNet and ESRGAN in full on one device; --help names the flags.
exec bash "$(dirname "${BASH_SOURCE[0]}")/../../../scripts/modelzoo_test.sh" esrgan full 1p paper "$@"
