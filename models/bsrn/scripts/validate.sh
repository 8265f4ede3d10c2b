#!/usr/bin/env bash
# Evaluate BSRN and write its images: `bash models/bsrn/scripts/validate.sh --weights W [flags of scripts.evaluate]`.
# By default on dataset/BSD100 at every scale of the weights, with images in result-pictures/ensemble/x2 ...
exec bash "$(dirname "${BASH_SOURCE[0]}")/../../../scripts/run_module.sh" scripts.evaluate --model bsrn \
  --dataset bsd100 --data_dir dataset --save_images result-pictures/ensemble "$@"
