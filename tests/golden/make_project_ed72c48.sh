#!/usr/bin/env bash
# How project_ed72c48.tar.xz was made: a small project as commit ed72c48 kept it, by that commit's own commands.
#
#   git worktree add /tmp/pitchpipe-ed72c48/code ed72c48
#   make -C /tmp/pitchpipe-ed72c48/code install TORCH=cpu
#   tests/golden/make_project_ed72c48.sh           # 2 minutes; writes the archive beside itself
#
# Run anew it gives other times and ids, so another archive; tests/house/test_old_project.py reads all it compares
# with from expected/. Nothing is left out but what was drawn for people (report.html and its pictures: 1.1 of
# 1.5 MB, asked for by no command), a log of a server, and lock files that nobody holds. Databases are vacuumed.
# Both folders lie in /tmp so that the few absolute paths inside (Prefect's deployments, torch's traces in
# model.pt2) lead nowhere.
set -euo pipefail
golden=$(cd "$(dirname "$0")" && pwd)
base=/tmp/pitchpipe-ed72c48
export PATH=$base/code/.venv/bin:$PATH DO_NOT_TRACK=true
mkdir "$base/digits" "$base/expected" && cd "$base/digits"
(cd "$base/code" && cp --parents dvc.yaml .dvcignore .dvc/config .dvc/.gitignore "$base/digits")

cat > params.yaml <<'END'
# A project as commit ed72c48 kept it: small enough to be stored.
data:
  name: digits
  image_size: 8
  limit: 240

trial:
  network: {name: mlp, hidden_units: 16}
  optimizer: {name: adam, learning_rate: 0.003}
  minibatch_size: 16

search:
  strategy: grid
  epochs: 6
  axes:
    optimizer.learning_rate: [0.003, 0.01]
END

# Digits of scikit-learn a pixel to the left: 40 to be added, 60 to be asked about.
python - <<'END'
from pathlib import Path
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
digits = load_digits()
for row in [*range(40), *range(1700, 1760)]:
    folder = Path("delivery") / str(digits.target[row]) if row < 40 else Path("asked")
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.roll(digits.images[row] * 15, -1, axis=1).astype("uint8")
    Image.fromarray(pixels).save(folder / f"{row:04}.png")
END

# Two versions on two datasets, a search with a failed and a pruned trial, drift, and a champion put back.
pitchpipe run --set search.epochs=3
pitchpipe data add delivery --name delivery --split train && rm -r delivery
pitchpipe run
pitchpipe tune --set search.pruner=asha --set 'search.axes={optimizer.learning_rate: [0.0001, 0.001, 0.02]}'
pitchpipe tune --set 'trial.optimizer={name: sgd, weight_decay: 1}' --set 'search.axes={optimizer.learning_rate: [0.02, 10]}'
pitchpipe monitor asked
pitchpipe rollback --reason "The field test was made with the first one."

# Schedules, edited by hand, served once.
pitchpipe schedule --cron "0 3 * * *" --timezone Europe/Berlin --name nightly
pitchpipe schedule --on-new-data --name arrivals
pitchpipe schedule --interval 2592000 --name monthly --set search.epochs=8
pitchpipe schedule pause monthly
sed -i 's/^- name: nightly/# The machine is idle at night.\n- name: nightly   # ask Ada before you change it/
        s/^- name: monthly/\n# A longer search, when there is time.\n- name: monthly/' schedules.yaml
pitchpipe up --mlflow-port 15000 --prefect-port 14200 > "$base/up.log" 2>&1 &
until grep -q "^Ctrl-C" "$base/up.log"; do sleep 1; done
until pitchpipe schedule run-now nightly; do sleep 1; done
ended="select 1 from flow_run where name like '%nightly' and state_name = 'Completed'"
until sqlite3 .prefect/prefect.db "$ended" | grep -q 1; do sleep 1; done
kill -INT $! && wait $! || true

# What that commit says of it all.
pitchpipe versions --json > "$base/expected/versions.json"
pitchpipe audit --verify --json > "$base/expected/audit.json"
pitchpipe trials --all --json > "$base/expected/trials.json"
pitchpipe data log --json > "$base/expected/data_log.json"
pitchpipe trace 2 --json > "$base/expected/trace.json"
pitchpipe schedule list --json > "$base/expected/schedules.json"
pitchpipe status --json > "$base/expected/status.json"
for version in 1 2; do
  pitchpipe predict asked --version $version --json > "$base/expected/predictions_$version.json"
done

sqlite3 .prefect/prefect.db "pragma wal_checkpoint(truncate); vacuum;"
sqlite3 mlruns/mlflow.db "pragma wal_checkpoint(truncate); vacuum;"
find . -name "*.lock" ! -name dvc.lock -delete
find mlruns -name "*.png" -delete
find . \( -name report.html -o -name "*.log" -o -path "./.dvc/tmp/*" \) -delete
# Owner and order say nothing; times of change stay, as in a project.
tar --create --sort=name --owner=0 --group=0 --numeric-owner --mode=u+rw,go= -C "$base" digits expected |
  xz -9e > "$golden/project_ed72c48.tar.xz"
ls -l "$golden/project_ed72c48.tar.xz"
