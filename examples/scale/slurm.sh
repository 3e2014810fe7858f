#!/bin/bash
# Statistics of the manifest's shards as a Slurm array, and their merge behind it.
#
#   ./slurm.sh manifest.json parts result
#
# An array task that is lost is started anew (--requeue): a part is put once, whoever comes first.
# EVENKEEL is the command, `npx evenkeel` unless told.
set -euo pipefail
manifest=$1 parts=$2 result=$3
evenkeel=${EVENKEEL:-npx evenkeel}
count=$(node -p 'JSON.parse(require("fs").readFileSync(process.argv[1])).shards.length' "$manifest")
array=$(sbatch --parsable --job-name evenkeel-shards --requeue --array "0-$((count - 1))" --output /dev/null \
  --wrap "$evenkeel shard '$manifest' \$SLURM_ARRAY_TASK_ID --store '$parts'")
sbatch --parsable --job-name evenkeel-merge --dependency "afterok:$array" --kill-on-invalid-dep yes --output /dev/null --wait \
  --wrap "$evenkeel merge '$manifest' --store '$parts' --out '$result'"
