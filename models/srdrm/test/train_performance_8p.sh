#!/usr/bin/env bash
# Measure SRDRM-GAN's training speed in a few hundred steps on eight NPUs or all GPUs; --help names the flags.
exec bash "$(dirname "${BASH_SOURCE[0]}")/../../../scripts/modelzoo_test.sh" srdrm performance 8p "paper --batch_size=16 --scale_learning_rate=2" --stage=gan "$@"
