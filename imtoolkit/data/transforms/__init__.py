"""Transforms: ours, with sensible keys built in, and the building of those that a config names.

`intensity`, `labels`, `stains`, `grid` and `enlarge` are deterministic and may stand in
``preprocess``; `domain` limits any of them to one of two domains.
`random_grid`, `random_intensity` and `noise` are for ``augment``, the last also for ``degrade``.
All are MONAI transforms on a sample's dict, and treat image, target and cost map each in its own
way; `positions`, `resample` and `fields` are what they compute with. `build` turns the config's
components into them.
"""
