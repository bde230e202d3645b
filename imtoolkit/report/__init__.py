"""From the folders of runs to pictures and pages that a person reads."""
