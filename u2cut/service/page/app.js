import { zip } from "./zip.js";

const $ = (id) => document.getElementById(id);
const cards = new Set();
const MOST_AT_ONCE = 3;
let running = 0;
const queue = [];

function chosen() {
  return document.querySelector("input[name=background]:checked").value;
}

/** The fields of a request, as the controls stand. */
function fields() {
  const form = new FormData();
  const background = chosen();
  if (background === "colour") form.set("background", $("colour").value);
  if (background === "blur") form.set("background_blur", "25");
  if (background === "picture" && $("picture").files[0]) form.set("background_image", $("picture").files[0]);
  form.set("matting", $("matting").value);
  form.set("largest", String($("largest").checked));
  form.set("crop", String($("crop").checked));
  form.set("format", "png");
  return form;
}

class Card {
  constructor(file) {
    this.file = file;
    this.undone = [];
    this.brush = "";
    this.article = $("card").content.firstElementChild.cloneNode(true);
    for (const name of ["before", "after", "message", "compare", "restore", "erase", "undo", "size", "name", "download", "remove"]) {
      this[name] = this.article.querySelector(`.${name}`);
    }
    this.before.src = URL.createObjectURL(file);
    this.before.alt = `${file.name}, before`;
    this.after.setAttribute("role", "img");
    this.after.setAttribute("aria-label", `${file.name}, after`);
    this.name.textContent = file.name;
    this.context = this.after.getContext("2d", { willReadFrequently: true });
    this.compare.addEventListener("input", () => {
      this.before.style.clipPath = `inset(0 ${100 - this.compare.value}% 0 0)`;
    });
    this.remove.addEventListener("click", () => this.takeAway());
    this.undo.addEventListener("click", () => this.stepBack());
    for (const tool of ["restore", "erase"]) {
      this[tool].addEventListener("click", () => this.choose(this.brush === tool ? "" : tool));
    }
    this.after.addEventListener("pointerdown", (event) => this.begin(event));
    this.after.addEventListener("pointermove", (event) => this.stroke(event));
    for (const end of ["pointerup", "pointercancel"]) this.after.addEventListener(end, () => this.finish());
    $("photos").append(this.article);
  }

  choose(tool) {
    this.brush = tool;
    for (const name of ["restore", "erase"]) this[name].setAttribute("aria-pressed", String(name === tool));
    this.after.style.cursor = tool ? "crosshair" : "";
  }

  async cut() {
    this.article.className = "waiting";
    this.say("waiting");
    this.ready(false);
    const form = fields();
    form.set("image", this.file);
    this.sameFrame = form.get("crop") === "false";
    this.opaque = chosen() !== "";
    const headers = $("token").value ? { "X-Api-Key": $("token").value } : {};
    for (let attempt = 0; ; attempt += 1) {
      let answer;
      try {
        answer = await fetch("v1/remove", { method: "POST", body: form, headers });
      } catch {
        this.fail("the server can't be reached");
        return;
      }
      if (answer.status === 503 && attempt < 20) {
        await new Promise((done) => { setTimeout(done, 1000 * (Number(answer.headers.get("Retry-After")) || 1)); });
        continue;
      }
      if (!answer.ok) {
        const problem = await answer.json().catch(() => ({}));
        this.fail(problem.detail || `the server answers ${answer.status}`);
        return;
      }
      await this.show(await answer.blob(), answer.headers);
      return;
    }
  }

  async show(blob, headers) {
    const picture = await createImageBitmap(blob);
    this.after.width = picture.width;
    this.after.height = picture.height;
    this.context.drawImage(picture, 0, 0);
    this.undone = [];
    this.article.className = "";
    const unsure = Number(headers.get("X-Confidence")) < 0.7;
    this.say(headers.get("X-Subject") === "false" ? "no subject found" : unsure ? "worth a look" : "");
    this.ready(true);
    await this.offer();
  }

  fail(text) {
    this.article.className = "waiting failed";
    this.say(text);
    this.ready(false);
  }

  say(text) {
    this.message.textContent = text;
  }

  ready(is) {
    this.done = is;
    this.compare.disabled = !is || !this.sameFrame;
    // A brush paints with the photo's own pixels: they must lie where they lay, before nothing.
    for (const tool of ["restore", "erase"]) this[tool].disabled = !is || !this.sameFrame || this.opaque;
    this.undo.disabled = true;
    this.download.hidden = !is;
    if (!is) this.choose("");
    refresh();
  }

  async offer() {
    this.blob = await new Promise((done) => { this.after.toBlob(done, "image/png"); });
    if (this.download.href) URL.revokeObjectURL(this.download.href);
    this.download.href = URL.createObjectURL(this.blob);
    this.download.download = this.target;
    refresh();
  }

  get target() {
    return `${this.file.name.replace(/\.[^.]*$/, "")}.cutout.png`;
  }

  point(event) {
    const box = this.after.getBoundingClientRect();
    const scale = this.after.width / box.width;
    return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale, this.size.value * scale / 2];
  }

  begin(event) {
    if (!this.brush || !this.done) return;
    event.preventDefault();
    this.after.setPointerCapture(event.pointerId);
    this.undone.push(this.context.getImageData(0, 0, this.after.width, this.after.height));
    if (this.undone.length > 10) this.undone.shift();
    this.painting = this.point(event);
    this.stroke(event);
  }

  stroke(event) {
    if (!this.painting) return;
    const { context } = this;
    const [x, y, radius] = this.point(event);
    const [fromX, fromY] = this.painting;
    this.painting = [x, y, radius];
    context.save();
    const steps = Math.max(1, Math.ceil(Math.hypot(x - fromX, y - fromY) / (radius / 2)));
    context.beginPath();
    for (let k = 0; k <= steps; k += 1) {
      const [cx, cy] = [fromX + (x - fromX) * k / steps, fromY + (y - fromY) * k / steps];
      context.moveTo(cx + radius, cy);
      context.arc(cx, cy, radius, 0, 2 * Math.PI);
    }
    if (this.brush === "erase") {
      context.globalCompositeOperation = "destination-out";
      context.fill();
    } else {
      context.clip();
      context.drawImage(this.before, 0, 0, this.after.width, this.after.height);
    }
    context.restore();
  }

  async finish() {
    if (!this.painting) return;
    this.painting = null;
    this.undo.disabled = false;
    await this.offer();
  }

  async stepBack() {
    const last = this.undone.pop();
    if (last) this.context.putImageData(last, 0, 0);
    this.undo.disabled = !this.undone.length;
    await this.offer();
  }

  takeAway() {
    cards.delete(this);
    this.article.remove();
    URL.revokeObjectURL(this.before.src);
    refresh();
  }
}

function refresh() {
  const done = [...cards].filter((card) => card.done).length;
  $("all").disabled = !done;
  $("again").disabled = !cards.size;
  $("status").textContent = cards.size ? `${done} of ${cards.size} done` : "";
}

function enqueue(card) {
  queue.push(card);
  next();
}

async function next() {
  while (running < MOST_AT_ONCE && queue.length) {
    running += 1;
    queue.shift().cut().finally(() => { running -= 1; next(); });
  }
}

function add(files) {
  for (const file of files) {
    const card = new Card(file);
    cards.add(card);
    enqueue(card);
  }
  refresh();
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

$("choose").addEventListener("change", (event) => { add(event.target.files); event.target.value = ""; });
$("again").addEventListener("click", () => { for (const card of cards) enqueue(card); });
$("all").addEventListener("click", async () => {
  const names = new Map();
  const files = [...cards].filter((card) => card.done).map((card) => {
    const count = names.get(card.target) || 0;
    names.set(card.target, count + 1);
    return { name: count ? card.target.replace(".cutout", `.${count + 1}.cutout`) : card.target, blob: card.blob };
  });
  save(await zip(files), "cutouts.zip");
});
$("controls").addEventListener("submit", (event) => event.preventDefault());
$("colour").addEventListener("input", () => { document.querySelector("[value=colour]").checked = true; });
$("picture").addEventListener("change", () => { document.querySelector("[value=picture]").checked = true; });
document.addEventListener("paste", (event) => add(event.clipboardData.files));
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", name === "dragover");
    if (name === "drop") add(event.dataTransfer.files);
  });
}
