// The server's page: sends two images to the signature `verification`, and compares them as the evaluation does.
"use strict";
const at = id => document.getElementById(id);
const faces = { a: null, b: null };
let state = null;

const ask = async (path, options = {}) => {
  const token = at("token").value;
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch(path, { ...options, headers });
  const answer = await response.json();
  if (response.status === 401) at("token-line").hidden = false;
  if (!response.ok) throw new Error(answer.error || response.statusText);
  return answer;
};

const row = cells => {
  const line = document.createElement("tr");
  for (const text of cells) line.appendChild(document.createElement("td")).textContent = text;
  return line;
};

const showState = async () => {
  try {
    state = await ask("page.json");
    at("state").textContent = state.ready ? `version ${state.version} answers` : "no version takes traffic";
    at("versions").replaceChildren(...state.versions.map(v => row([v.version, v.state, v.error])));
    at("rate").textContent = state.rate.toFixed(1);
    for (const name of ["images", "failed", "open"]) at(name).textContent = state[name].toLocaleString("en");
    const chosen = at("threshold").value;
    at("threshold").replaceChildren(...state.thresholds.map(t => new Option(t.text, t.cosine)));
    if (chosen) at("threshold").value = chosen;
  } catch (error) {
    at("state").textContent = error.message;
  }
};

const unit = (raw, mirrored) => {
  const sum = raw.map((value, i) => value + mirrored[i]);
  const length = Math.hypot(...sum);
  return sum.map(value => value / length);
};

const say = (text, kind, meaning) => {
  at("verdict").textContent = text;
  at("verdict").className = `verdict ${kind}`;
  at("meaning").textContent = meaning;
};

const compare = async () => {
  if (!faces.a || !faces.b) return;
  say("comparing …", "", "");
  try {
    const images = [faces.a, faces.b].map(face => ({ b64: face }));
    const body = JSON.stringify({ signature_name: "verification", inputs: { image_bytes: images } });
    const { outputs } = await ask(`v1/models/${state.model}:predict`, { method: "POST", body });
    if (outputs.valid && outputs.valid.includes(false)) {
      throw new Error(`face ${outputs.valid[0] ? "b" : "a"} is no image that can be read`);
    }
    const [first, second] = outputs.raw.map((raw, i) => unit(raw, outputs.raw_mirrored[i]));
    const cosine = first.reduce((sum, value, i) => sum + value * second[i], 0);
    const chosen = state.thresholds[at("threshold").selectedIndex];
    if (!chosen) return say(`cosine ${cosine.toFixed(4)}`, "", "The model brings no threshold: it was never evaluated.");
    const same = cosine > chosen.cosine;
    const verdict = `${same ? "same" : "different"}: cosine ${cosine.toFixed(4)}, ${same ? "" : "not "}above ${chosen.cosine.toFixed(4)}`;
    say(verdict, same ? "same" : "different", chosen.meaning);
  } catch (error) {
    say(error.message, "different", "");
  }
};

const take = (side, file) => {
  const reader = new FileReader();
  reader.onload = () => {
    faces[side] = reader.result.slice(reader.result.indexOf(",") + 1);
    const image = at(`face-${side}`).querySelector("img");
    image.src = reader.result;
    image.hidden = false;
    compare();
  };
  reader.readAsDataURL(file);
};

for (const side of ["a", "b"]) {
  const face = at(`face-${side}`);
  at(`file-${side}`).addEventListener("change", event => take(side, event.target.files[0]));
  face.addEventListener("dragover", event => { event.preventDefault(); face.classList.add("over") });
  face.addEventListener("dragleave", () => face.classList.remove("over"));
  face.addEventListener("drop", event => {
    event.preventDefault();
    face.classList.remove("over");
    if (event.dataTransfer.files.length) take(side, event.dataTransfer.files[0]);
  });
}
// Pasted images fill the side that has the focus, or else the empty one.
document.addEventListener("paste", event => {
  const file = [...event.clipboardData.files].find(one => one.type.startsWith("image/"));
  const focused = document.activeElement.closest(".face");
  if (file) take(focused ? focused.id.slice(-1) : faces.a ? "b" : "a", file);
});
at("threshold").addEventListener("change", compare);
at("token").addEventListener("change", showState);
showState();
setInterval(showState, 2000);
