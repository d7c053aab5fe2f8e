"""The browser view: `server` serves the page in `web/` and its WebSocket, `access` decides who may connect.

`viewer` sends images to open pages, `controls` applies what they ask for, and `webrtc` receives a browser's camera.
"""
