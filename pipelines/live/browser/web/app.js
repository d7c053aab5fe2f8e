// The page of a live picture. Pictures come over one WebSocket: facts as JSON, then a JPEG; each one that was shown is
// reported back, so that the server sends no more than can be shown and knows how old they were.

const $ = (id) => document.getElementById(id);
const picture = $("picture");
const pen = picture.getContext("2d");
const DRAWINGS = ["points,curves", "curves", "points", "points,curves,boxes,ids", "none"];
const SECONDS = 10;
const FULL = 4001;

let socket;
let state = {};
let wait = 500;
const history = [];
window.vtrack = { shown: 0, facts: null };

function connect() {
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws${location.search}`);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => { wait = 500; };
  socket.onmessage = (event) => {
    if (typeof event.data === "string") told(JSON.parse(event.data));
    else received(event.data);
  };
  socket.onclose = (event) => {
    const full = event.code === FULL;
    connection("closed", full ? "all places are taken" : "not connected");
    veil(full ? "Others are watching and all places are taken. Trying again…" : "The connection is closed. Trying again…");
    setTimeout(connect, wait);
    wait = Math.min(2 * wait, 15000);
  };
}

function say(message) {
  if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

function told(message) {
  if (message.answer) return peer?.setRemoteDescription({ type: "answer", sdp: message.answer });
  if (message.error) return note(message.error, true);
  const before = state.recording;
  state = message;
  showControls();
  if (before && !state.recording) note(`Wrote ${state.recorded.join(" and ")}`);
  if (!before && state.recording) note(`Recording to ${state.recorded[0]}`);
  const { state: how, camera, detail } = state.connection;
  if (how !== "live") {
    connection(how, `${how}: ${camera}`);
    veil(detail || "Waiting for the camera…");
  }
}

async function received(data) {
  const length = new DataView(data).getUint32(0);
  const facts = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
  const image = await createImageBitmap(new Blob([new Uint8Array(data, 4 + length)], { type: "image/jpeg" }));
  requestAnimationFrame(() => {
    if (picture.width !== image.width || picture.height !== image.height) {
      picture.width = image.width;
      picture.height = image.height;
    }
    pen.drawImage(image, 0, 0);
    image.close();
    say({ do: "shown", frame: facts.frame });
    window.vtrack = { shown: window.vtrack.shown + 1, facts };
    veil("");
    connection("live", `live: ${facts.camera}`);
    $("fps").textContent = facts.fps.toFixed(0);
    $("p50").textContent = facts.p50;
    $("p95").textContent = facts.p95;
    $("faces").textContent = `${counted(facts.faces.length, "face")} · ${counted(facts.points, "point")}`;
    remember(facts);
  });
}

// Plots

function remember(facts) {
  const measures = facts.faces.length ? facts.faces[0].measures : {};
  history.push({ time: facts.time, ...measures });
  while (history.length && history[0].time < facts.time - SECONDS) history.shift();
  plot("eyes", [["left_eye_open", "--left"], ["right_eye_open", "--right"]], 0, 0.45, (value) => value.toFixed(2));
  plot("mouth", [["mouth_open", "--left"]], 0, 0.6, (value) => value.toFixed(2));
  plot("turn", [["yaw", "--left"], ["pitch", "--right"]], -45, 45, (value) => `${value.toFixed(0)}°`);
  if (measures.blinks !== undefined) $("eyes-value").append(` · ${counted(measures.blinks, "blink")}`);
}

function plot(name, lines, low, high, written) {
  const canvas = $(`plot-${name}`);
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth;
  const height = 46;
  if (canvas.width !== Math.round(width * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  const now = history[history.length - 1].time;
  const y = (value) => 4 + (height - 8) * (1 - Math.min(Math.max((value - low) / (high - low), 0), 1));
  pen.strokeStyle = style("--line");
  pen.lineWidth = 1;
  pen.beginPath();
  pen.moveTo(0, y(low < 0 ? 0 : low));
  pen.lineTo(width, y(low < 0 ? 0 : low));
  pen.stroke();
  const values = [];
  const label = $(`${name}-value`);
  for (const [measure, color] of lines) {
    pen.strokeStyle = style(color);
    pen.lineWidth = 1.75;
    pen.lineJoin = "round";
    pen.beginPath();
    let drawing = false;
    for (const moment of history) {
      const value = moment[measure];
      if (value === null || value === undefined) { drawing = false; continue; }
      const x = width * (1 - (now - moment.time) / SECONDS);
      if (drawing) pen.lineTo(x, y(value)); else pen.moveTo(x, y(value));
      drawing = true;
    }
    pen.stroke();
    const last = history[history.length - 1][measure];
    if (last !== null && last !== undefined) values.push(written(last));
    else values.push("–");
  }
  label.replaceChildren();
  values.forEach((value, i) => {
    if (i) label.append(" ");
    label.append(Object.assign(document.createElement("span"), { className: i ? "second" : "first", textContent: value }));
  });
}

function style(name) {
  // light-dark() is resolved where it is used, not in the custom property.
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
  if (!state.uses_browser_camera && peer?.connectionState === "connected") leaveCamera(false);
  $("rec").hidden = !state.recording;
}

function toggle(part) {
  const parts = state.parts.includes(part) ? state.parts.filter((name) => name !== part) : [...state.parts, part];
  state.parts = parts;
  say({ do: "show", parts, density: state.density });
}

function snapshot() {
  const link = document.createElement("a");
  link.download = `vtrack-${new Date().toISOString().slice(0, 19).replace(/\D/g, "")}.png`;
  picture.toBlob((blob) => {
    link.href = URL.createObjectURL(blob);
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    note(`Saved ${link.download}`);
  });
}

// This browser's camera

let peer = null;
let own = null;

async function useCamera() {
  if (peer) return leaveCamera();
  if (!navigator.mediaDevices) return note("Browsers lend cameras to https pages and to this machine's own only.", true);
  try {
    const size = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };
    own = await navigator.mediaDevices.getUserMedia({ video: size });
  } catch (error) {
    return note(`The camera cannot be used: ${error.message}`, true);
  }
  peer = new RTCPeerConnection();
  peer.addTrack(own.getVideoTracks()[0], own);
  peer.onconnectionstatechange = () => { if (peer?.connectionState === "failed") leaveCamera(); };
  await peer.setLocalDescription(await peer.createOffer());
  // The offer goes in one piece, once every way to this browser is in it.
  if (peer.iceGatheringState !== "complete") {
    await new Promise((done) => {
      const look = () => { if (!peer || peer.iceGatheringState === "complete") done(); };
      peer.addEventListener("icegatheringstatechange", look);
      setTimeout(done, 2000);
    });
  }
  if (peer) say({ do: "camera", offer: peer.localDescription.sdp });
}

function leaveCamera(tell = true) {
  own?.getTracks().forEach((track) => track.stop());
  peer?.close();
  peer = own = null;
  if (tell) say({ do: "camera" });
}

const actions = {
  camera: useCamera,
  pause: () => say({ do: "pause", on: !state.paused }),
  snapshot,
  record: () => say({ do: "record", on: !state.recording }),
  draw: () => say({ do: "draw", kinds: DRAWINGS[(DRAWINGS.indexOf(state.draw) + 1) % DRAWINGS.length] }),
  mirror: () => say({ do: "mirror", on: !state.mirror }),
};
for (const [name, action] of Object.entries(actions)) $(name).onclick = action;
$("density").oninput = () => say({ do: "show", parts: state.parts, density: 2 ** $("density").value });
$("strength").oninput = () => say({ do: "smooth", strength: Number($("strength").value) });
$("theme").onclick = () => {
  const dark = getComputedStyle(document.body).colorScheme === "dark"
    || (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = dark ? "light" : "dark";
};

const KEYS = { " ": "pause", s: "snapshot", r: "record", d: "draw", m: "mirror", c: "camera" };
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === " " && event.target.closest("button, input")) return; // the browser's own use of it
  if (KEYS[event.key]) { event.preventDefault(); actions[KEYS[event.key]](); }
  const chip = $("chips").children[Number(event.key) - 1];
  if (chip) chip.click();
});

function connection(how, text) {
  $("connection").dataset.state = how;
  $("connection").textContent = text;
}

function counted(number, what) {
  return `${number} ${what}${number === 1 ? "" : "s"}`;
}

function veil(text) {
  $("veil").hidden = !text;
  $("veil-text").textContent = text;
}

function note(text, wrong = false) {
  $("message").textContent = text;
  $("message").classList.toggle("error", wrong);
}

connect();
