#!/usr/bin/env bash
# Train SRDRM and SRDRM-GAN on one device (CPU or GPU); bare: the demo. Flags: python -m models.srdrm.train --help
exec bash "$(dirname "${BASH_SOURCE[0]}")/../../../scripts/train_1p.sh" srdrm "$@"
