"use strict";
// State: the photo as it was dropped (none for a .pqm), the file, and what stands beside it.
const $ = (id) => document.getElementById(id);
const state = { photo: null, file: null, about: null, original: null, pixels: 0, shown: null, turn: 0, rivalTurn: 0 };
const SMALLEST = 60, LARGEST = 200000;

// -- talking to the server -------------------------------------------------------------------

async function post(path, body, signal) {
  const headers = { "Content-Type": "application/octet-stream" };
  const answer = await fetch(path, { method: "POST", body, headers, signal });
  if (!answer.ok) {
    const text = await answer.text();
    let message = text;
    try { message = JSON.parse(text).error; } catch { /* plain text */ }
    throw new Error(message);
  }
  return { blob: await answer.blob(), facts: JSON.parse(answer.headers.get("X-Facts") || "{}") };
}

function fail(error) {
  if (error.name === "AbortError") return;
  $("error").textContent = error.message;
  $("error").hidden = false;
}

// One job of a kind at a time: a newer one ends the older.
const running = {};
async function only(kind, job) {
  running[kind]?.abort();
  const control = running[kind] = new AbortController();
  $("busy").hidden = false;
  try {
    await job(control.signal);
    $("error").hidden = true;
  } catch (error) {
    fail(error);
  } finally {
    if (running[kind] === control) { delete running[kind]; $("busy").hidden = Object.keys(running).length === 0; }
  }
}

// -- numbers ---------------------------------------------------------------------------------

const number = (value) => value.toLocaleString("en");
const bytesText = (count) => `${number(count)} bytes`;
function sizeOf(position) { // of the slider, 0 to 100: logarithmic
  const exact = SMALLEST * (LARGEST / SMALLEST) ** (position / 100);
  const step = 10 ** Math.max(0, Math.floor(Math.log10(exact)) - 1);
  return Math.round(exact / step) * step;
}
const mode = () => document.querySelector("[name=mode]:checked").value;
const against = () => document.querySelector("[name=against]:checked").value;
function amountText() {
  const position = +$("amount").value;
  return mode() === "size" ? bytesText(sizeOf(position)) : `quality ${position}`;
}

async function pixelsOf(blob) {
  const bitmap = await createImageBitmap(blob);
  const canvas = document.createElement("canvas");
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

async function psnr(blob) { // against the photo; null without one, or where the sizes differ
  if (!state.original) return null;
  const [a, b] = [state.original, await pixelsOf(blob)];
  if (a.width !== b.width || a.height !== b.height) return null;
  let sum = 0;
  for (let i = 0; i < a.data.length; i += 4)
    for (let c = 0; c < 3; c++) sum += (a.data[i + c] - b.data[i + c]) ** 2;
  const mean = sum / (a.width * a.height * 3);
  return mean ? 10 * Math.log10(255 * 255 / mean) : Infinity;
}

function facts(count, quality, extra) {
  const words = [bytesText(count)];
  if (state.pixels) words.push(`${(8 * count / state.pixels).toFixed(3)} bpp`);
  if (quality !== null) words.push(`${quality.toFixed(1)} dB`);
  return words.concat(extra || []).join(" · ");
}

// -- the work --------------------------------------------------------------------------------

function show(id, blob) {
  URL.revokeObjectURL($(id).src);
  $(id).src = URL.createObjectURL(blob);
  return $(id).decode().catch(() => {});
}

async function take(source) {
  const head = new Uint8Array(await source.slice(0, 2).arrayBuffer());
  if (source.name?.toLowerCase().endsWith(".pqm") || (head[0] & 0xf0) === 0xd0) return takeFile(source);
  try {
    state.original = await pixelsOf(source);
  } catch {
    state.original = null; // the browser does not know the format; pqmim may
  }
  state.photo = source;
  state.pixels = state.original ? state.original.width * state.original.height : 0;
  open();
  await show("right", source);
  $("qr").hidden = true;
  await encode();
}

async function takeFile(file) {
  state.photo = state.original = null;
  state.pixels = 0;
  state.file = file;
  open();
  $("arrived").value = 1000;
  await decode();
  if (state.shown) await show("right", state.shown);
}

function open() {
  $("drop").hidden = true;
  $("work").hidden = false;
  const isFile = !state.photo;
  for (const id of ["dial", "against-box"]) $(id).hidden = isFile;
  $("caption-right").hidden = isFile;
  $("code").hidden = !state.about?.qr;
  $("look-box").hidden = !state.about?.looks;
  $("said").textContent = "";
}

function encode() {
  return only("encode", async (signal) => {
    const position = +$("amount").value;
    const query = mode() === "size" ? `size=${sizeOf(position)}` : `quality=${position}`;
    const { blob, facts: told } = await post(`api/encode?${query}`, state.photo, signal);
    state.file = blob;
    state.pixels = told.width * told.height;
    state.seconds = told.seconds;
    $("said").textContent = told.notes.join("; ");
    $("arrived").value = 1000;
    await Promise.all([decode(), beside()]);
  });
}

function arrivedBytes() { // logarithmic, all at the right end
  const position = +$("arrived").value / 1000, least = 24;
  if (position === 1 || state.file.size <= least) return state.file.size;
  return Math.round(least * (state.file.size / least) ** position);
}

function decode() {
  return only("decode", async (signal) => {
    const count = arrivedBytes();
    const look = state.about?.looks ? `?look=${+$("look").value / 100}` : "";
    const { blob, facts: told } = await post(`api/decode${look}`, state.file.slice(0, count), signal);
    state.pixels ||= told.width * told.height;
    state.shown = blob;
    await show("left", blob);
    const all = count === state.file.size;
    $("arrived-text").textContent = all ? "all bytes" : `${bytesText(count)} of ${number(state.file.size)}`;
    $("facts-left").textContent = facts(count, await psnr(blob));
  });
}

function beside() {
  const name = against();
  $("name-right").textContent = name === "photo" ? "the photo" : { webp: "WebP", avif: "AVIF", jpeg: "JPEG" }[name];
  return only("beside", async (signal) => {
    if (name === "photo") {
      await show("right", state.photo);
      $("facts-right").textContent = bytesText(state.photo.size);
      return;
    }
    const { blob, facts: told } = await post(`api/rival?name=${name}&size=${state.file.size}`, state.photo, signal);
    await show("right", blob);
    const more = blob.size > state.file.size ? ["it has no smaller file"] : [];
    $("facts-right").textContent = facts(blob.size, await psnr(blob), more);
  });
}

async function watch() {
  $("watch").disabled = true;
  for (let position = 0; position <= 1000; position += 100) {
    $("arrived").value = position;
    await decode();
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  $("watch").disabled = false;
}

// -- sharing ---------------------------------------------------------------------------------

async function base64url(blob) {
  let text = "";
  for (const byte of new Uint8Array(await blob.arrayBuffer())) text += String.fromCharCode(byte);
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

async function share() {
  const link = `${location.origin}/#${await base64url(state.file)}`;
  history.replaceState(null, "", link);
  let copied = "the address of this page";
  try { await navigator.clipboard.writeText(link); copied += ", and copied"; } catch { /* not allowed here */ }
  $("said").textContent = `The link is now ${copied}: ${number(link.length)} characters. The file stands after the #, ` +
    "which browsers never send; it opens wherever this page runs.";
}

function save() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(state.file);
  link.download = `${(state.photo?.name || state.file.name || "photo").replace(/\.[^.]*$/, "")}.pqm`;
  link.click();
  URL.revokeObjectURL(link.href);
}

function code() {
  return only("qr", async (signal) => {
    const file = state.photo ? (await post("api/encode?size=200", state.photo, signal)).blob : state.file;
    const [{ blob: image }, { blob: picture }] = [await post("api/qr", file, signal), await post("api/decode", file, signal)];
    await show("qr-image", image);
    await show("qr-photo", picture);
    $("qr-text").textContent = `This picture stands in the code, in ${bytesText(file.size)}: pqmim qr --read finds it.`;
    $("qr").hidden = false;
    $("qr").scrollIntoView({ behavior: "smooth", block: "nearest" });
  });
}

async function fromLink() {
  const text = location.hash.slice(1);
  if (!text) return;
  try {
    const raw = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
    await takeFile(new File([Uint8Array.from(raw, (c) => c.charCodeAt(0))], "shared.pqm"));
  } catch {
    fail(new Error("the address carries no file, or a part of it is missing"));
  }
}

// -- events ----------------------------------------------------------------------------------

function later(job, wait = 250) {
  let timer;
  return () => { clearTimeout(timer); timer = setTimeout(job, wait); };
}

addEventListener("DOMContentLoaded", async () => {
  const encodeSoon = later(encode), decodeSoon = later(decode);
  $("file").addEventListener("change", () => $("file").files[0] && take($("file").files[0]).catch(fail));
  for (const name of ["dragover", "dragleave", "drop"])
    addEventListener(name, (event) => {
      event.preventDefault();
      $("drop").classList.toggle("over", name === "dragover");
      if (name === "drop" && event.dataTransfer.files[0]) take(event.dataTransfer.files[0]).catch(fail);
    });
  $("divider").addEventListener("input", () => $("stage").style.setProperty("--split", `${$("divider").value / 10}%`));
  $("amount").addEventListener("input", () => { $("amount-text").textContent = amountText(); encodeSoon(); });
  $("look").addEventListener("input", decodeSoon);
  $("arrived").addEventListener("input", decodeSoon);
  for (const radio of document.querySelectorAll("[name=mode]"))
    radio.addEventListener("change", () => {
      $("amount").setAttribute("aria-label", mode() === "size" ? "bytes" : "quality");
      $("amount-text").textContent = amountText();
      encode();
    });
  $("against").addEventListener("change", beside);
  $("watch").addEventListener("click", watch);
  $("share").addEventListener("click", share);
  $("save").addEventListener("click", save);
  $("code").addEventListener("click", code);
  $("another").addEventListener("click", () => $("file").click());

  try {
    state.about = await (await fetch("api/about")).json();
  } catch (error) {
    fail(error);
    return;
  }
  $("version").textContent = `pqmim ${state.about.version}.`;
  for (const name of state.about.rivals) {
    const label = document.createElement("label");
    label.innerHTML = `<input type="radio" name="against" value="${name}"> ${{ webp: "WebP", avif: "AVIF", jpeg: "JPEG" }[name]}`;
    $("against").append(label);
  }
  document.body.dataset.ready = "yes";
  await fromLink();
});
