"use strict";
// One request at a time: the next one is sent when the answer to the last has been drawn.

const HOLD_MS = 280;     // a key that is held longer repeats while the model is paused
const KEPT_TIMES = 500;  // over which latency is computed
const byId = id => document.getElementById(id);
const names = {ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", " ": "space"};

let socket = null, about = null, waiting = null, next = null, running = false, recording = false;
let held = [], timer = null, due = false, tapped = null, drawn = [], times = [], shown = 0;

function connect() {
  socket = new WebSocket(`ws://${location.host}/drive`);
  socket.binaryType = "arraybuffer";
  socket.onmessage = message => typeof message.data === "string" ? received(JSON.parse(message.data)) : view(message.data);
  socket.onclose = () => {
    socket = null;
    stop();
    if (!byId("status").classList.contains("problem")) say("The connection has ended. Load this page again.", true);
  };
}

function received(message) {
  if (message.type === "about") begin(message);
  else {
    say(message.sentence, true);
    if (message.type === "problem") answered();
  }
}

function say(text, problem = false) {
  byId("status").textContent = text;
  byId("status").classList.toggle("problem", problem);
}

function begin(message) {
  about = message;
  document.title = `Play ${about.title}`;
  byId("title").textContent = about.title;
  byId("about_codes").textContent =
    `What a code does: ${about.meanings_from} in ${about.transitions} transitions of the training frames; ` +
    "“unclear” below 50 %, or below a larger share where the same is frequent anyway. " +
    (about.game ? "The true game takes the action that its code means most often. " : "") +
    `While nothing is pressed, Run takes code ${about.idle}.`;
  const clearFirst = [...about.codes].sort((a, b) => b.clear - a.clear);  // a stable sort
  byId("codes").replaceChildren(...clearFirst.map(tile));
  say("Press a key to take a step, or Run.");
}

function tile(code) {
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.code = code.code;
  button.classList.toggle("unclear", !code.clear);
  for (const key of code.keys) {
    const cap = document.createElement("kbd");
    cap.textContent = names[key] || key.toUpperCase();
    button.append(cap, " ");
  }
  const meaning = document.createElement("span"), share = document.createElement("small");
  meaning.className = "meaning";
  meaning.textContent = code.clear ? code.name : "unclear";
  share.textContent = code.seen ? `${code.clear ? "" : `${code.name} `}${Math.round(100 * code.share)} %` : "never seen";
  button.append(meaning, " ", share);
  button.title = `Code ${code.code}: ${code.text}, ${code.seen} transitions`;
  button.addEventListener("pointerdown", event => {
    if (event.button === 0) press(code.code);
  });
  for (const end of ["pointerup", "pointerleave", "pointercancel"]) button.addEventListener(end, () => release(code.code));
  button.addEventListener("click", event => {
    if (event.detail === 0) step(code.code);  // Enter or space on the focused button
  });
  return button;
}

function ask(request) {
  if (socket === null || socket.readyState !== WebSocket.OPEN || about === null) return;
  if (waiting !== null) {
    // A step does not replace what a person has asked for meanwhile.
    if (next === null || request.do !== "step") next = request;
    return;
  }
  waiting = {request, since: performance.now()};
  socket.send(JSON.stringify(request));
}

function answered() {
  waiting = null;
  const request = next;
  next = null;
  if (request !== null) ask(request);
  else if (due) go();
}

function step(code) {
  ask({do: "step", code});
}

function view(data) {
  const length = new DataView(data).getUint32(0);
  const facts = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
  const size = about.frame_size, bytes = size * size * 3, pixels = new Uint8Array(data, 4 + length);
  const place = ++shown;
  for (let frame = 0; frame < facts.frames; frame++) {
    const show = () => {
      if (frame > 0 && place !== shown) return;
      paint(byId("model"), pixels.subarray(frame * bytes, (frame + 1) * bytes), size);
      if (facts.game) paint(byId("game"), pixels.subarray((facts.frames + frame) * bytes), size);
    };
    if (frame === 0) show();
    else setTimeout(show, frame * 1000 / speed() / facts.frames);
  }
  const now = performance.now();
  if (waiting !== null && waiting.request.do === "step") {
    times = [...times, now - waiting.since].slice(-KEPT_TIMES);
    for (let frame = 0; frame < facts.frames; frame++) drawn.push(now);
    if (byId("status").classList.contains("problem")) say("");
  } else if (waiting !== null && waiting.request.do !== "record") {
    drawn = [];
    say("Press a key to take a step, or Run.");
  }
  describe(facts);
  document.body.dataset.frames = facts.new_frames;
  answered();
}

function paint(canvas, rgb, size) {
  if (canvas.width !== size) canvas.width = canvas.height = size;
  const image = new ImageData(size, size);
  for (let from = 0, to = 0; to < image.data.length; to += 4) {
    image.data[to] = rgb[from++];
    image.data[to + 1] = rgb[from++];
    image.data[to + 2] = rgb[from++];
    image.data[to + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function describe(facts) {
  byId("clip").textContent = facts.clip_text;
  byId("frames").textContent = facts.new_frames ? `– ${facts.new_frames} generated` : "– last true frame of the context";
  byId("game_figure").hidden = !about.game || (!facts.game && !facts.game_problem);
  byId("game_note").textContent = facts.game_problem ? `– ${facts.game_problem}` : facts.game_ended ? "– it has ended" : "";
  byId("model_ms").textContent = pair(facts.latency_ms.p50, facts.latency_ms.p99);
  const sorted = [...times].sort((a, b) => a - b), at = share => sorted[Math.floor(share * (sorted.length - 1))];
  byId("page_ms").textContent = sorted.length ? pair(at(0.5), at(0.99)) : "–";
  byId("save").hidden = recording || !facts.recorded;
  byId("save").textContent = `Save the recording (${facts.recorded} frames, MP4)`;
  byId("record").querySelector("span").textContent = recording ? `Stop (${facts.recorded} frames)` : "Record";
  rate();
}

function pair(p50, p99) {
  return p50 === null ? "–" : `${p50.toFixed(1)} / ${p99.toFixed(1)} ms`;
}

function rate() {
  const now = performance.now();
  drawn = drawn.filter(time => now - time < 2000);
  const span = drawn.length > 1 ? now - drawn[0] : 0;
  byId("rate").textContent = span > 500 ? ((drawn.length - 1) * 1000 / span).toFixed(1) : "–";
}

function speed() {
  return Number(byId("speed").value);
}

function tick() {
  timer = null;
  if (!running && held.length === 0) return;
  due = true;
  if (waiting === null) go();
  timer = setTimeout(tick, 1000 / speed());
}

function go() {
  due = false;
  const code = held.length ? held[held.length - 1] : tapped ?? about.idle;
  tapped = null;
  if (running || held.length > 0) step(code);
}

function run(on) {
  running = on && socket !== null && about !== null;
  byId("play").querySelector("span").textContent = running ? "Pause" : "Run";
  clearTimeout(timer);
  timer = null;
  if (running) tick();
  say(running ? "Running." : "Paused. Press a key to take a step.");
}

function stop() {
  running = false;
  held = [];
  clearTimeout(timer);
  waiting = next = timer = null;
  due = false;
  tapped = null;
  mark();
}

function press(code) {
  if (!held.includes(code)) held.push(code);
  mark();
  if (running) {
    tapped = code;  // also if it is released before the next frame
    return;
  }
  step(code);
  clearTimeout(timer);
  timer = setTimeout(tick, HOLD_MS);
}

function release(code) {
  held = held.filter(one => one !== code);
  mark();
}

function mark() {
  for (const button of byId("codes").children)
    button.classList.toggle("down", held.includes(Number(button.dataset.code)));
}

function record() {
  recording = !recording;
  byId("record").setAttribute("aria-pressed", recording);
  ask({do: "record", on: recording, fps: speed()});
}

const controls = {
  play: () => run(!running),
  step: () => { if (running) run(false); if (about) step(held.length ? held[held.length - 1] : about.idle); },
  reset: () => ask({do: "reset"}),
  next: () => ask({do: "next"}),
  random: () => ask({do: "random"}),
  record,
};
const controlKeys = {p: "play", ".": "step", r: "reset", n: "next", m: "random", c: "record"};

function codeOf(key) {
  const found = about === null ? undefined : about.codes.find(one => one.keys.includes(key));
  return found === undefined ? null : found.code;
}

document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.target.id === "speed") return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key, code = codeOf(key);
  if (key === " " && event.target.closest("button, a")) return;
  if (code !== null) {
    event.preventDefault();
    if (!event.repeat) press(code);
  } else if (key in controlKeys && !event.repeat) {
    event.preventDefault();
    controls[controlKeys[key]]();
  }
});
document.addEventListener("keyup", event => {
  const code = codeOf(event.key.length === 1 ? event.key.toLowerCase() : event.key);
  if (code !== null) release(code);
});
// After the mouse, keys drive the model again and not the button or the slider.
document.addEventListener("pointerup", () => document.activeElement.blur());
window.addEventListener("blur", () => { held = []; mark(); });
for (const [id, act] of Object.entries(controls)) byId(id).addEventListener("click", act);
byId("speed").addEventListener("input", () => { byId("speed_text").textContent = `${speed()} frames/s`; });
byId("speed").dispatchEvent(new Event("input"));
setInterval(rate, 500);
if (location.search) history.replaceState(null, "", "/");  // a token does not stay in the address bar
connect();
