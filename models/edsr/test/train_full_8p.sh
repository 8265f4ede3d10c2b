#!/usr/bin/env bash
# Train EDSR in full on eight NPUs or all GPUs; --help names the flags.
exec bash "$(dirname "${BASH_SOURCE[0]}")/../../../scripts/modelzoo_test.sh" edsr full 8p modelzoo "$@"
