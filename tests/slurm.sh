#!/usr/bin/env bash
# A study as a Slurm job array on this machine, one of whose tasks is requeued in the middle: at the end every run is bit
# for bit that of the same study without Slurm. Needs root, and Debian's packages slurm-wlm and munge.
#
#     tests/slurm.sh target/release/l2sp
set -euo pipefail
export L2SP
L2SP=$(realpath "${1:?usage: tests/slurm.sh L2SP}")
script=$(realpath "$(dirname "$0")/../docs/cluster/study.sbatch")
work=$(mktemp -d)
chmod 755 "$work"
cd "$work"

cleanup() {
    status=$?
    [ "$status" -eq 0 ] || tail -n 20 "$work"/*.log "$work"/slurm-*.out >&2 || true
    scancel --user=root 2>/dev/null || true
    for daemon in slurmd slurmctld munged; do
        [ ! -e "$work/$daemon.pid" ] || kill "$(cat "$work/$daemon.pid")" 2>/dev/null || true
    done
    sleep 1
    rm -rf "$work"
}
trap cleanup EXIT

# A cluster of one node with two slots.
mkdir -m 755 munge state spool
dd if=/dev/urandom of=munge.key bs=1024 count=1 status=none
chmod 600 munge.key
munged --force --key-file="$work/munge.key" --socket="$work/munge/socket" --pid-file="$work/munged.pid" \
    --log-file="$work/munged.log" --seed-file="$work/munged.seed"
cat >slurm.conf <<CONF
ClusterName=test
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$work/munge/socket
CredType=cred/munge
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.log
SlurmctldPort=16817
SlurmdPort=16818
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
SchedulerType=sched/builtin
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
export SLURM_CONF=$work/slurm.conf
slurmctld -c
slurmd
for _ in $(seq 30); do
    sinfo --noheader --format=%T 2>/dev/null | grep -q idle && break
    sleep 1
done
sinfo

cat >plan.toml <<'PLAN'
output = "array"
seeds = 2
[base]
max-steps = 60
checkpoint-every = 5
[arms.adamw]
optimizer = "adamw"
[arms.adamw-l2sp]
source-decay = 50.0
PLAN

job=$(sbatch --parsable --array=1-2 --cpus-per-task=1 "$script" plan.toml)
# Requeue one task as soon as its first run has a checkpoint.
has_checkpoint() { compgen -G 'array/runs/*/*/checkpoints/*' >/dev/null; }
for _ in $(seq 1200); do ! has_checkpoint || break; sleep 0.1; done
has_checkpoint || { echo "error: no run has a checkpoint after two minutes" >&2; exit 1; }
scontrol requeue "${job}_1"
echo "requeued task 1 of job $job"
for _ in $(seq 300); do
    [ -n "$(squeue --noheader --jobs="$job" 2>/dev/null)" ] || break
    # Slurm would let the requeued task wait for two minutes.
    ! squeue --noheader --jobs="$job" --states=PENDING 2>/dev/null | grep -q BeginTime ||
        scontrol update jobid="${job}_1" starttime=now 2>/dev/null || true
    sleep 1
done
cat slurm-*.out
grep -q "stopped with" slurm-*_1.out
"$L2SP" study status array | tee status.txt
grep -q "4 of 4 runs done" status.txt

sed -i 's/^output.*/output = "local"/' plan.toml
"$L2SP" study run plan.toml
for metrics in local/runs/*/*/metrics.jsonl; do
    cmp "$metrics" "${metrics/local/array}"
done
echo "the same metrics with and without Slurm"
