#!/usr/bin/env bash
# Train BSRN in full on one device; --help names the flags.
exec bash "$(dirname "${BASH_SOURCE[0]}")/../../../scripts/modelzoo_test.sh" bsrn full 1p paper "$@"
