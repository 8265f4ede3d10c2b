#!/usr/bin/env bash
# Train BSRN on one device (CPU or GPU); bare: the demo. Flags: python -m models.bsrn.train --help
exec bash "$(dirname "${BASH_SOURCE[0]}")/../../../scripts/train_1p.sh" bsrn "$@"
