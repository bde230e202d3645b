"""The verbs: train, resume, evaluate, predict, check. Each reads as a story."""
