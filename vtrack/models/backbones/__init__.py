"""Image encoders: an image in, feature maps of decreasing resolution out.

`registry.build_backbone` makes one by name, `pretrained.init_backbone` loads published weights into it, `necks` merge its
maps into one.
"""
