#!/usr/bin/env bash
# Train VDSR on one device (CPU or GPU); bare: the demo. Flags: python -m models.vdsr.train --help
exec bash "$(dirname "${BASH_SOURCE[0]}")/../../../scripts/train_1p.sh" vdsr "$@"
