// An answer: the text as it streams, why it ended, and its receipt.

import { Failure, call } from "./api.js";
import { element, fromTemplate } from "./dom.js";
import { events } from "./events.js";
import { ms } from "./format.js";
import { receiptOf } from "./receipt.js";

const ENDS = { stop: "Complete", length: "Cut: the longest answer was reached", tool_calls: "The model called a tool" };

export class Answer {
  constructor(name, failed) {
    this.root = fromTemplate("answer-template");
    this.root.setAttribute("aria-label", `Answer ${name}`);
    this.root.querySelector(".answer-name").textContent = `Answer ${name}`;
    this.failed = failed;
  }

  find(selector) {
    return this.root.querySelector(selector);
  }

  clear() {
    this.root.hidden = true;
  }

  // Returns whether the answer is complete.
  async ask(model, question, picture, plan, signal) {
    this.begin();
    const began = performance.now();
    try {
      const content = [
        { type: "image_url", image_url: { url: (await picture.store()).digest } },
        { type: "text", text: question },
      ];
      const body = {
        model,
        messages: [{ role: "user", content }],
        stream: true,
        stream_options: { include_usage: true },
        fovea: { budget: plan.budget },
      };
      const response = await call("/v1/chat/completions", {
        method: "POST",
        body: JSON.stringify(body),
        headers: { "content-type": "application/json" },
        signal,
      });
      for await (const chunk of events(response)) this.take(chunk, began);
      this.end();
      return true;
    } catch (error) {
      this.fail(error);
      return false;
    }
  }

  begin() {
    this.text = "";
    this.reasoning = "";
    this.reason = "";
    this.receipt = null;
    this.requestId = "";
    this.root.hidden = false;
    this.root.classList.add("busy");
    this.find(".text").replaceChildren();
    this.find(".text").setAttribute("aria-busy", "true");
    this.find(".receipt").hidden = true;
    this.say("Asking …");
  }

  take(chunk, began) {
    if (chunk.error) throw Failure.of(chunk, null);
    const [choice] = chunk.choices ?? [];
    const delta = choice?.delta ?? {};
    if (delta.content && !this.text) this.say(`First token after ${ms(performance.now() - began)}`);
    this.text += delta.content ?? "";
    this.reasoning += delta.reasoning_content ?? delta.reasoning ?? "";
    this.reason = choice?.finish_reason ?? this.reason;
    this.receipt = chunk.fovea?.receipt ?? this.receipt;
    this.requestId = chunk.fovea?.request_id ?? this.requestId;
    this.show();
  }

  show() {
    const thought = this.reasoning ? element("div", { class: "reasoning" }, this.reasoning) : null;
    this.find(".text").replaceChildren(...[thought, this.text].filter(Boolean));
  }

  end() {
    this.settle();
    const end = ENDS[this.reason] ?? this.reason;
    this.say(this.text ? end : `${end}. The model gave an empty answer.`);
    const receipt = this.find(".receipt");
    receipt.hidden = !this.receipt;
    if (this.receipt) receipt.replaceChildren(...receiptOf(this.receipt, this.requestId));
  }

  fail(error) {
    this.settle();
    if (error.name === "AbortError") {
      this.say("Stopped. The server is free again.");
      return;
    }
    this.say("No answer.");
    this.root.hidden = !this.text;
    this.failed(error instanceof Failure ? error : new Failure(`The page failed: ${error.message}`));
  }

  settle() {
    this.root.classList.remove("busy");
    this.find(".text").removeAttribute("aria-busy");
  }

  say(state) {
    this.find(".state").textContent = state;
  }
}
