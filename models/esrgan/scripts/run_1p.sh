#!/usr/bin/env bash
# Train RRDBNet and ESRGAN on one device (CPU or GPU); bare: the demo. Flags: python -m models.esrgan.train --help
exec bash "$(dirname "${BASH_SOURCE[0]}")/../../../scripts/train_1p.sh" esrgan "$@"
