#!/usr/bin/env bash
# Train SRCNN on eight NPUs (RANK_SIZE changes the number), or on all GPUs; bare: the demo.
exec bash "$(dirname "${BASH_SOURCE[0]}")/../../../scripts/train_8p.sh" srcnn "$@"
