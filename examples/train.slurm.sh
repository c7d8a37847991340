#!/bin/bash
# Trains a benchmark as a SLURM array: one task for each shard, in a folder that all nodes see. From the project's folder:
#
#   job=$(sbatch --parsable --array=0-19 examples/train.slurm.sh train digits-mlp --out /shared/digits-mlp)
#   sbatch --dependency="afterok:$job" examples/train.slurm.sh gather /shared/digits-mlp
#
# digits-mlp has 2,000 models, so shards of 100 make the numbers 0-19. A task that was lost is submitted again with its number
# alone (--array=7); what is there is kept. For a GPU add --gpus-per-task=1 to the first line.
#SBATCH --job-name=ldsboard
#SBATCH --cpus-per-task=1
#SBATCH --mem-per-cpu=4G
#SBATCH --time=01:00:00
# Ten minutes before its time is up a task gets what Ctrl-C sends, and finishes its shard.
#SBATCH --signal=B:INT@600
set -euo pipefail

# PYTHON: where `make setup` or `make demo` installed the project. `exec`, so that the signal reaches the trainer.
exec "${PYTHON:-.venv/bin/python}" -m worker "$@" \
    ${SLURM_ARRAY_TASK_ID:+--processes 1 --shards "$SLURM_ARRAY_TASK_ID-$SLURM_ARRAY_TASK_ID"}
