"""Part V on a graphics card: what the original's 76.5 million weights take, and what they learn of simulated children.

Needs a card; nothing runs it by itself. Children are simulated and prepared on this machine's processors. The
original's geometry learns for some minutes, in bfloat16, through `torchrun` and `nccl` with a process for each card,
and is probed on patients it has not seen. What comes out is written to build/bench/mae_card.json as it is found;
benchmarks/mae_card.json is the copy that chapter 2 shows, of a run with a checkpoint every 50 steps.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "build" / "bench" / "mae_card.json"
ORIGINAL = "original-76m"
LEARNING_RATE = 3e-4
CHUNK = 300  # steps between checkpoints of 0.9 GB
WARM, TIMED = 3, 12  # steps of a rate


def command(*words, cards=False):
    """Run a command of the part in a process of its own, or in one for each card; return seconds and output."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(torch.cuda.device_count())]
    start = time.perf_counter()
    line = [sys.executable, *(torchrun if cards else []), "-m", "dreem_case.mae.commands", *map(str, words)]
    done = subprocess.run(line, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return time.perf_counter() - start, done.stdout


def rate(name, batch, half):
    """Return examples a second of steps on noise that lies on the card, and the most memory they took."""
    from dreem_case.core.nets import seed_all
    from dreem_case.mae.model import CONFIGS, MaskedAutoencoder
    from dreem_case.mae.montage import N_MODALITIES, WIDTH
    from dreem_case.mae.pretraining import PretrainSettings, masked_batch

    seed_all(0)
    model = MaskedAutoencoder(CONFIGS[name]).cuda()
    chosen = torch.optim.AdamW(model.parameters(), 1e-4)
    signals = np.random.default_rng(0).standard_normal((batch, N_MODALITIES, WIDTH), np.float32)
    present = np.ones((batch, N_MODALITIES), bool)
    held = masked_batch(signals, present, CONFIGS[name], PretrainSettings(batch=batch), [[0, i] for i in range(batch)])
    held = [value.cuda() for value in held]
    torch.cuda.reset_peak_memory_stats()
    for number in range(WARM + TIMED):
        if number == WARM:
            torch.cuda.synchronize()
            start = time.perf_counter()
        with torch.autocast("cuda", torch.bfloat16, enabled=half):
            loss = model.loss(*held)
        chosen.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        chosen.step()
    torch.cuda.synchronize()
    seconds = (time.perf_counter() - start) / TIMED
    found = {"examples_per_s": batch / seconds, "peak_gb": torch.cuda.max_memory_allocated() / 1e9}
    del model, chosen, held, loss
    torch.cuda.empty_cache()
    return {"config": name, "batch": batch, "bfloat16": half, **found}


def learned(batches, out, batch, steps):
    """Pretrain the original and return what it took and how the loss went, of the model's own account."""
    seconds, _ = command("pretrain", batches, "--out", out, "--config", ORIGINAL, "--batch", batch, "--steps", steps,
                         "--chunk", CHUNK, "--learning-rate", LEARNING_RATE, cards=True)  # fmt: skip
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    return {"config": ORIGINAL, "batch": batch, "steps": steps, "chunk": CHUNK, "learning_rate": LEARNING_RATE,
            "seconds": seconds, "examples_per_s": batch * steps / seconds, "examples": manifest["examples"],
            "course": manifest["course"]}  # fmt: skip


def main():
    """Measure, learn, probe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=400)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--minutes", type=float, default=4.0, help="of learning")
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "mae" / "card")
    given = parser.parse_args()
    found = {"card": torch.cuda.get_device_name(), "cards": torch.cuda.device_count(), "torch": torch.__version__,
             "date": time.strftime("%Y-%m-%d"), "rates": []}  # fmt: skip

    def keep(**more):
        found.update(more)
        OUT.parent.mkdir(parents=True, exist_ok=True)
        OUT.write_text(json.dumps(found, indent=1), encoding="utf-8")
        print(*more, f"{time.perf_counter() - began:.0f} s", flush=True)

    began = time.perf_counter()
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    studies, batches = given.folder / "studies", given.folder / "batches"
    simulated, _ = command("simulate", "--out", studies, "--patients", given.patients, "--hours", given.hours,
                           "--seed", 101)  # fmt: skip
    prepared, _ = command("prepare", studies, "--out", batches)
    keep(patients=given.patients, hours=given.hours, simulate_s=simulated, prepare_s=prepared)

    for name, batch, half in ((ORIGINAL, given.batch, True), (ORIGINAL, 64, True), (ORIGINAL, given.batch // 2, False),
                              ("laptop", 1024, True)):  # fmt: skip
        keep(rates=[*found["rates"], rate(name, batch, half)])
    fastest = found["rates"][0]["examples_per_s"] * found["cards"]
    steps = max(round(0.8 * given.minutes * 60 * fastest / given.batch), 50)
    keep(training=learned(batches, given.folder / ORIGINAL, given.batch, steps))
    _, said = command("probe", batches, "--model", given.folder / ORIGINAL, "--patients", 4, "--patients", 0,
                      "--every", 10, "--json")  # fmt: skip
    keep(probes=json.loads(said))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
