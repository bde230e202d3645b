"""The random transforms of training on whole batches, after these have reached the device.

`module` holds the transforms as one module, `stages` what they do to a batch, and `place` decides
where the transforms of a config run. The transforms themselves are those of
`imtoolkit.data.transforms`: they draw the same for a sample of a batch as for a sample alone.
"""
