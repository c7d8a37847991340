#!/bin/bash
# Train a benchmark as a SLURM array, with one task for each shard, in a folder that all nodes share. Run in the project's folder:
#
#   job=$(sbatch --parsable --array=0-19 examples/train.slurm.sh train digits-mlp --out /shared/digits-mlp)
#   sbatch --dependency="afterok:$job" examples/train.slurm.sh gather /shared/digits-mlp
#
# digits-mlp has 2,000 models in shards of 100, so the task numbers are 0-19. Submit a lost task again by its number, such as
# --array=7; existing shards are kept. For a GPU, add --gpus-per-task=1 to the first command.
#SBATCH --job-name=ldsboard
#SBATCH --cpus-per-task=1
#SBATCH --mem-per-cpu=4G
#SBATCH --time=01:00:00
# Ten minutes before its time limit, a task receives SIGINT (like Ctrl-C) and finishes its shard.
#SBATCH --signal=B:INT@600
set -euo pipefail

# Set PYTHON to use another environment than that of `make setup` or `make demo`. `exec` lets the signal reach the trainer.
exec "${PYTHON:-.venv/bin/python}" -m worker "$@" \
    ${SLURM_ARRAY_TASK_ID:+--processes 1 --shards "$SLURM_ARRAY_TASK_ID-$SLURM_ARRAY_TASK_ID"}
