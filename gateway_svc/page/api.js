// Calls of this gateway. A failed call throws a Failure, which knows what to do about it.

import { headers } from "./access.js";

const WHAT_TO_DO = {
  UNAUTHENTICATED: "Open Access and give the token of your tenant.",
  TOKEN_MISSING: "Open Access and give the token of your tenant.",
  TOKEN_UNKNOWN: "Open Access and give a token that this server knows.",
  IMAGE_NOT_STORED: "The server has let go of the picture. Choose it again.",
  IMAGE_TOO_LARGE: "Choose a smaller file.",
  CONTEXT_TOO_LONG: "Move Detail to the left, or shorten the question.",
  VISUAL_BUDGET_EXCEEDED: "Move Detail to the left.",
  QUOTA_EXCEEDED: "Wait until the quota of your tenant renews, or ask with less detail.",
  LEDGER_DISABLED: "This server keeps no ledger. Start the decoder with one to see usage.",
  NOT_READY: "The model is being loaded. Try again in a moment.",
  UNREACHABLE: "Start the services with `fovea serve --gateway`, then try again.",
};
const BY_STATUS = {
  401: WHAT_TO_DO.UNAUTHENTICATED,
  403: "Your token may not do this. Open Access and give another.",
  413: "Choose a smaller file.",
  429: "The server is busy. Try again in a moment.",
  503: "The server does not answer. Try again in a moment; if it goes on, look at its log.",
  504: "It took too long. Try again with less detail.",
};

export class Failure extends Error {
  constructor(message, { status = 0, reason = "", requestId = "", retryAfter = 0 } = {}) {
    super(message);
    this.status = status;
    this.reason = reason;
    this.requestId = requestId;
    this.retryAfter = retryAfter;
  }

  get advice() {
    const wait = this.retryAfter ? ` The server asks to wait ${Math.ceil(this.retryAfter)} s.` : "";
    return (WHAT_TO_DO[this.reason] ?? BY_STATUS[this.status] ?? "") + wait;
  }

  get needsToken() {
    return this.status === 401;
  }

  static of(body, response) {
    const error = body?.error ?? {};
    return new Failure(error.message ?? `The gateway answered with status ${response?.status}.`, {
      status: response?.status ?? 0,
      reason: error.code ?? "",
      requestId: error.fovea?.request_id ?? response?.headers.get("x-request-id") ?? "",
      retryAfter: Number(response?.headers.get("retry-after") ?? 0),
    });
  }
}

export async function call(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { ...options, headers: { ...headers(), ...options.headers } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure("The gateway cannot be reached.", { reason: "UNREACHABLE" });
  }
  if (response.ok) return response;
  throw Failure.of(await response.json().catch(() => null), response);
}

export const get = async (path) => (await call(path)).json();

export async function post(path, body, options = {}) {
  const isFile = body instanceof Blob;
  const type = isFile ? body.type || "application/octet-stream" : "application/json";
  const sent = { method: "POST", body: isFile ? body : JSON.stringify(body), headers: { "content-type": type } };
  return (await call(path, { ...options, ...sent })).json();
}
