"""Photographs with known faces, composed into scenes: what the face detector learns from and is measured on."""
