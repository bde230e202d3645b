"""Noise of sigma 25 taken from grey images: mean PSNR on Set12, learnt from 400 clean images.

Published on this set: BM3D 29.97 dB, DnCNN-S 30.44 dB (Zhang et al., IEEE TIP 2017).
"""

from __future__ import annotations

from measure import ROOT, arguments, data_root, limit, machine, show, trained


def main() -> None:
    options = arguments(
        __doc__ or "",
        ("--minutes", {"type": float, "default": 10.0}),
        ("--seed", {"type": int, "default": 0}),
    )
    root = data_root() / "gray_denoise"
    overrides = {
        "data.sources.train.source.params.root": str(root / "train400"),
        "data.sources.set12.source.params.root": str(root / "set12"),
        "trainer.max_time": limit(options.minutes),
        "seed": options.seed,
    }
    ours = trained(ROOT / "bench" / "gray_denoise.yaml", overrides)
    result = {
        "name": "accuracy_gray_denoise",
        "ours": ours["scores"]["psnr"],
        "unit": "dB",
        "minutes": options.minutes,
        **ours,
        **machine(),
    }
    show(result, as_json=options.json)


if __name__ == "__main__":
    main()
