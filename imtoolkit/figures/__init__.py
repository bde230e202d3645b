"""Pictures: images with labels laid over, panels of samples, curves of metrics.

Figures are made with matplotlib's objects and its Agg canvas only: no window, no ``pyplot`` state,
nothing to close. They show themselves in a notebook.
"""
