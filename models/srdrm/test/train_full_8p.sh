#!/usr/bin/env bash
# Train SRDRM and SRDRM-GAN in full on eight NPUs or all GPUs; --help names the flags.
exec bash "$(dirname "${BASH_SOURCE[0]}")/../../../scripts/modelzoo_test.sh" srdrm full 8p "paper --batch_size=16 --scale_learning_rate=2" "$@"
