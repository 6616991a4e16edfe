// Takes a file that is dropped, picked or pasted. A PDF becomes pictures of its pages, drawn by the gateway.

import { post } from "./api.js";
import { byId, element } from "./dom.js";
import { bytes, plural } from "./format.js";
import { Picture } from "./picture.js";

export class Intake {
  constructor(opened, failed) {
    this.opened = opened;
    this.failed = failed;
    this.zone = byId("intake");
    const file = byId("file");
    byId("choose").addEventListener("click", () => file.click());
    file.addEventListener("change", (event) => this.take(file.files[0], event.timeStamp).then(() => { file.value = ""; }));
    document.addEventListener("paste", (event) => this.paste(event));
    document.addEventListener("dragover", (event) => this.over(event));
    document.addEventListener("dragleave", (event) => event.relatedTarget || this.zone.classList.remove("over"));
    document.addEventListener("drop", (event) => this.drop(event));
  }

  over(event) {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    this.zone.classList.add("over");
  }

  drop(event) {
    if (!event.dataTransfer?.files.length) return;
    event.preventDefault();
    this.zone.classList.remove("over");
    this.take(event.dataTransfer.files[0], event.timeStamp);
  }

  paste(event) {
    const file = [...(event.clipboardData?.files ?? [])][0];
    if (!file) return;
    event.preventDefault();
    this.take(file, event.timeStamp);
  }

  // `began` is when the file was dropped; the time from there to the painted grid is measured.
  async take(file, began) {
    if (!file) return;
    performance.mark("fovea:drop", { startTime: began });
    try {
      if (await isPdf(file)) await this.takePdf(file);
      else await this.show([new Picture(file, file.name || "pasted picture")]);
    } catch (failure) {
      this.failed(failure);
    }
  }

  async takePdf(file) {
    byId("progress").textContent = "Drawing the pages";
    const told = await post("/page/api/pages", file);
    byId("progress").textContent = "";
    const name = file.name || "pasted PDF";
    const pictures = told.pages.map((page, at) => new Picture(png(page), `${name}, page ${at + 1}`));
    await this.show(pictures, told.count > pictures.length ? `the first ${pictures.length} of ${told.count} pages` : "");
  }

  async show(pictures, note = "") {
    this.note = note || (pictures.length > 1 ? plural(pictures.length, "page") : "");
    this.drawPages(pictures);
    await this.open(pictures, 0);
  }

  async open(pictures, at) {
    await pictures[at].decode();
    for (const [index, button] of [...byId("pages").children].entries()) {
      button.setAttribute("aria-pressed", String(index === at));
    }
    this.describe(pictures[at]);
    await this.opened(pictures[at]);
    this.describe(pictures[at]);
  }

  describe(picture) {
    this.zone.classList.add("held");
    byId("held").hidden = false;
    byId("held-name").textContent = picture.name;
    const facts = picture.facts ? [picture.facts.kind === "unspecified" ? "" : picture.facts.kind] : [];
    byId("held-facts").textContent = [bytes(picture.file.size), ...facts, this.note].filter(Boolean).join(" · ");
    byId("choose").textContent = "Choose another";
  }

  drawPages(pictures) {
    const strip = byId("pages");
    for (const shown of strip.querySelectorAll("img")) URL.revokeObjectURL(shown.src);
    strip.hidden = pictures.length < 2;
    strip.replaceChildren(
      ...(strip.hidden ? [] : pictures).map((picture, at) =>
        element(
          "button",
          { type: "button", "aria-pressed": "false", onclick: () => this.open(pictures, at).catch(this.failed) },
          element("img", { src: URL.createObjectURL(picture.file), alt: "" }),
          `Page ${at + 1}`,
        ),
      ),
    );
  }
}

async function isPdf(file) {
  const head = new Uint8Array(await file.slice(0, 1024).arrayBuffer());
  return new TextDecoder("latin1").decode(head).includes("%PDF-");
}

function png(base64) {
  return new Blob([Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))], { type: "image/png" });
}
