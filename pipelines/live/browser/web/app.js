// The page of the browser view. One WebSocket carries images (a JSON header, then a JPEG) and JSON messages. The page reports
// each image that it has shown, so that the server sends no more than the page can show and can measure the latency.

const $ = (id) => document.getElementById(id);
const view = $("view");
const context = view.getContext("2d");
const PLOT_SECONDS = 10;
const FULL = 4001; // WebSocket close code: too many viewers

let socket;
let state = {};
let retryDelay = 500; // milliseconds
const history = [];
window.vtrack = { shown: 0, info: null };

function connect() {
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws${location.search}`);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => { retryDelay = 500; };
  socket.onmessage = (event) => {
    if (typeof event.data === "string") handleMessage(JSON.parse(event.data));
    else showImage(event.data);
  };
  socket.onclose = (event) => {
    const full = event.code === FULL;
    setStatus("closed", full ? "too many viewers" : "not connected");
    setOverlay(full ? "Too many viewers are connected. Retrying…" : "Connection lost. Retrying…");
    setTimeout(connect, retryDelay);
    retryDelay = Math.min(2 * retryDelay, 15000);
  };
}

function send(message) {
  if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

function handleMessage(message) {
  if (message.answer) return peer?.setRemoteDescription({ type: "answer", sdp: message.answer });
  if (message.error) return notify(message.error, true);
  const wasRecording = state.recording;
  const lastNotice = state.notice ?? "";
  state = message;
  showControls();
  if (wasRecording && !state.recording && state.recorded.length) notify(`Saved ${state.recorded.join(" and ")}`);
  if (state.notice !== lastNotice || (wasRecording && !state.recording)) showNotice();
  if (!wasRecording && state.recording) notify(`Recording to ${state.recorded[0]}`);
  const { state: cameraState, camera, detail } = state.connection;
  if (cameraState !== "live") {
    setStatus(cameraState, `${cameraState}: ${camera}`);
    setOverlay(detail || "Waiting for the camera…");
  }
}

async function showImage(data) {
  const length = new DataView(data).getUint32(0);
  const info = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
  const image = await createImageBitmap(new Blob([new Uint8Array(data, 4 + length)], { type: "image/jpeg" }));
  requestAnimationFrame(() => {
    if (view.width !== image.width || view.height !== image.height) {
      view.width = image.width;
      view.height = image.height;
    }
    context.drawImage(image, 0, 0);
    image.close();
    send({ do: "shown", frame: info.frame });
    window.vtrack = { shown: window.vtrack.shown + 1, info };
    setOverlay("");
    setStatus("live", `live: ${info.camera}`);
    $("fps").textContent = info.fps.toFixed(0);
    $("p50").textContent = info.p50;
    $("p95").textContent = info.p95;
    $("faces").textContent = `${plural(info.faces.length, "face")} · ${plural(info.points, "point")}`;
    addToPlots(info);
  });
}

// Plots

function addToPlots(info) {
  const measures = info.faces.length ? info.faces[0].measures : {};
  history.push({ time: info.time, ...measures });
  while (history.length && history[0].time < info.time - PLOT_SECONDS) history.shift();
  plot("eyes", [["left_eye_open", "--left"], ["right_eye_open", "--right"]], 0, 0.45, (value) => value.toFixed(2));
  plot("mouth", [["mouth_open", "--left"]], 0, 0.6, (value) => value.toFixed(2));
  plot("turn", [["yaw", "--left"], ["pitch", "--right"]], -45, 45, (value) => `${value.toFixed(0)}°`);
  if (measures.blinks !== undefined) $("eyes-value").append(` · ${plural(measures.blinks, "blink")}`);
}

function plot(name, lines, low, high, format) {
  const canvas = $(`plot-${name}`);
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth;
  const height = 46;
  if (canvas.width !== Math.round(width * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  const now = history[history.length - 1].time;
  const y = (value) => 4 + (height - 8) * (1 - Math.min(Math.max((value - low) / (high - low), 0), 1));
  context.strokeStyle = cssColor("--line");
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(0, y(low < 0 ? 0 : low));
  context.lineTo(width, y(low < 0 ? 0 : low));
  context.stroke();
  const values = [];
  const label = $(`${name}-value`);
  for (const [measure, color] of lines) {
    context.strokeStyle = cssColor(color);
    context.lineWidth = 1.75;
    context.lineJoin = "round";
    context.beginPath();
    let drawing = false;
    for (const sample of history) {
      const value = sample[measure];
      if (value === null || value === undefined) { drawing = false; continue; }
      const x = width * (1 - (now - sample.time) / PLOT_SECONDS);
      if (drawing) context.lineTo(x, y(value)); else context.moveTo(x, y(value));
      drawing = true;
    }
    context.stroke();
    const last = history[history.length - 1][measure];
    if (last !== null && last !== undefined) values.push(format(last));
    else values.push("–");
  }
  label.replaceChildren();
  values.forEach((value, i) => {
    if (i) label.append(" ");
    label.append(Object.assign(document.createElement("span"), { className: i ? "second" : "first", textContent: value }));
  });
}

function cssColor(name) {
  // A custom property holds light-dark() unresolved; the computed color of an element resolves it.
  probe.style.color = `var(${name})`;
  return getComputedStyle(probe).color;
}
const probe = document.body.appendChild(Object.assign(document.createElement("i"), { hidden: true }));

// Controls

function showControls() {
  const chips = $("chips");
  if (!chips.children.length) {
    state.chips.forEach((name, i) => {
      const chip = document.createElement("button");
      chip.dataset.part = name;
      chip.innerHTML = `<kbd>${i + 1}</kbd>`;
      chip.append(name);
      chip.onclick = () => toggle(name);
      chips.append(chip);
    });
  }
  for (const chip of chips.children) chip.setAttribute("aria-pressed", state.parts.includes(chip.dataset.part));
  $("density").value = Math.log2(state.density);
  $("density-value").textContent = `${state.density.toFixed(state.density < 1 ? 2 : 1).replace(/\.?0+$/, "")}× · ${state.points} points`;
  $("strength").value = state.strength;
  $("strength-value").textContent = `${Math.round(100 * state.strength)} %`;
  $("pause").setAttribute("aria-pressed", state.paused);
  $("record").setAttribute("aria-pressed", state.recording);
  $("mirror").setAttribute("aria-pressed", state.mirror);
  $("camera").hidden = !state.can_use_browser_camera;
  $("camera").setAttribute("aria-pressed", state.uses_browser_camera);
  if (!state.uses_browser_camera && peer?.connectionState === "connected") stopCamera(false);
  $("rec").hidden = !state.recording;
}

function toggle(part) {
  const parts = state.parts.includes(part) ? state.parts.filter((name) => name !== part) : [...state.parts, part];
  state.parts = parts;
  send({ do: "show", parts, density: state.density });
}

function snapshot() {
  const link = document.createElement("a");
  link.download = `vtrack-${new Date().toISOString().slice(0, 19).replace(/\D/g, "")}.png`;
  view.toBlob((blob) => {
    link.href = URL.createObjectURL(blob);
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    notify(`Saved ${link.download}`);
  });
}

// This browser's camera

let peer = null; // RTCPeerConnection
let stream = null;

async function useCamera() {
  if (peer) return stopCamera();
  if (!navigator.mediaDevices) return notify("The camera is available on https pages and on localhost only; see --cert.", true);
  try {
    const size = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };
    stream = await navigator.mediaDevices.getUserMedia({ video: size });
  } catch (error) {
    return notify(`The camera cannot be opened: ${error.message}`, true);
  }
  peer = new RTCPeerConnection();
  peer.addTrack(stream.getVideoTracks()[0], stream);
  peer.onconnectionstatechange = () => { if (peer?.connectionState === "failed") stopCamera(); };
  await peer.setLocalDescription(await peer.createOffer());
  // Wait for all ICE candidates: the offer is sent in one message.
  if (peer.iceGatheringState !== "complete") {
    await new Promise((resolve) => {
      const check = () => { if (!peer || peer.iceGatheringState === "complete") resolve(); };
      peer.addEventListener("icegatheringstatechange", check);
      setTimeout(resolve, 2000);
    });
  }
  if (peer) send({ do: "camera", offer: peer.localDescription.sdp });
}

function stopCamera(report = true) {
  stream?.getTracks().forEach((track) => track.stop());
  peer?.close();
  peer = stream = null;
  if (report) send({ do: "camera" });
}

// Actions of buttons and keys

const actions = {
  camera: useCamera,
  pause: () => send({ do: "pause", on: !state.paused }),
  snapshot,
  record: () => send({ do: "record", on: !state.recording }),
  draw: () => send({ do: "draw", kinds: state.styles[(state.styles.indexOf(state.draw) + 1) % state.styles.length] }),
  mirror: () => send({ do: "mirror", on: !state.mirror }),
};
for (const [name, action] of Object.entries(actions)) $(name).onclick = action;
$("density").oninput = () => send({ do: "show", parts: state.parts, density: 2 ** $("density").value });
$("strength").oninput = () => send({ do: "smooth", strength: Number($("strength").value) });
$("theme").onclick = () => {
  const dark = getComputedStyle(document.body).colorScheme === "dark"
    || (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = dark ? "light" : "dark";
};

const KEYS = { " ": "pause", s: "snapshot", r: "record", d: "draw", m: "mirror", c: "camera" };
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === " " && event.target.closest("button, input")) return; // the space bar operates the focused control
  if (KEYS[event.key]) { event.preventDefault(); actions[KEYS[event.key]](); }
  const chip = $("chips").children[Number(event.key) - 1];
  if (chip) chip.click();
});

function setStatus(cameraState, text) {
  $("connection").dataset.state = cameraState;
  $("connection").textContent = text;
}

function plural(count, noun) {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

function setOverlay(text) {
  $("overlay").hidden = !text;
  $("overlay-text").textContent = text;
}

function showNotice() {
  if (!state.notice) return;
  const names = state.recorded.map((path) => path.split(/[\\/]/).pop());
  const saved = names.length && !state.recording ? ` Saved: ${names.join(" and ")}.` : "";
  notify(`${state.notice}.${saved}`, true);
}

function notify(text, isError = false) {
  $("message").textContent = text;
  $("message").classList.toggle("error", isError);
}

connect();
