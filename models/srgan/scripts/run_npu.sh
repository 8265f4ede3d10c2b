#!/usr/bin/env bash
# Train this folder's model on an Ascend NPU, by default the demo. Flags: python -m models.<model>.train --help
exec bash "$(dirname "${BASH_SOURCE[0]}")/../../../scripts/start.sh" "${BASH_SOURCE[0]}" "$@"
