"""Image encoders: a picture in, feature maps of falling resolution out."""
