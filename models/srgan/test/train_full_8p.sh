#!/usr/bin/env bash
# Train SRResNet and SRGAN in full on eight NPUs or all GPUs; --help names the flags.
exec bash "$(dirname "${BASH_SOURCE[0]}")/../../../scripts/modelzoo_test.sh" srgan full 8p coco "$@"
