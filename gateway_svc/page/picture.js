// A picture that was dropped, picked or pasted: its pixels in this tab, and its id on the server.

import { post } from "./api.js";

export class Picture {
  constructor(file, name) {
    this.file = file;
    this.name = name;
    this.facts = null;
    this.bitmap = null;
  }

  // Decodes in this tab. The size is as viewers show it, with the orientation applied.
  async decode() {
    this.bitmap ??= await createImageBitmap(this.file);
    return [this.bitmap.width, this.bitmap.height];
  }

  async store() {
    this.facts ??= await post("/page/api/images", this.file);
    return this.facts;
  }

  // Draws the picture at its planned size: about what the model sees.
  draw(canvas, [width, height]) {
    canvas.width = width;
    canvas.height = height;
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.fillStyle = "#fff";
    context.fillRect(0, 0, width, height);
    if (this.bitmap) context.drawImage(this.bitmap, 0, 0, width, height);
  }
}
