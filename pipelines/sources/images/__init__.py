"""Images as sources: photographs, numbered frames of a film, images in memory, animations. `files` reads image files, and
`headers` what they say of themselves before they are decoded.
"""
