#!/usr/bin/env bash
# Train SRResNet and SRGAN on one device (CPU or GPU); bare: the demo. Flags: python -m models.srgan.train --help
exec bash "$(dirname "${BASH_SOURCE[0]}")/../../../scripts/train_1p.sh" srgan "$@"
