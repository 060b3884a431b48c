// Asking the server: JSON, or a Problem that says what to tell the reader.

const ROOT = new URL("../", import.meta.url); // the service may live below a path
const USUAL_WAIT_S = 5;
const LONGEST_WAIT_S = 120;
const MOST_TRIES = 30;

export const address = (...parts) => new URL(parts.map(encodeURIComponent).join("/"), ROOT);

// The name at the end of this page's address; what is no encoding stands for itself.
export function nameHere() {
  const last = location.pathname.split("/").at(-1);
  try {
    return decodeURIComponent(last);
  } catch {
    return last;
  }
}

export class Problem extends Error {
  constructor(status, { title = "", detail = "", code = "" }, retryAfter) {
    super(detail || title);
    this.status = status; // 0: no answer at all
    this.code = code;
    const seconds = Math.ceil(Number(retryAfter)) || USUAL_WAIT_S;
    this.wait_s = Math.min(Math.max(seconds, 1), LONGEST_WAIT_S);
  }
}

export async function getJson(url, options = {}) {
  let response;
  try {
    response = await fetch(url, options);
  } catch {
    throw new Problem(0, { detail: "No answer came from the server." });
  }
  let body;
  try {
    body = await response.json();
  } catch {
    throw new Problem(response.status, { detail: `Expected JSON, found something else (status ${response.status}).` });
  }
  if (!response.ok) throw new Problem(response.status, body, response.headers.get("Retry-After"));
  return body;
}

export const wait = (problem) => new Promise((resolve) => setTimeout(resolve, 1000 * problem.wait_s));

// Ask again as long as the server says that it is busy. `untilNextTry(problem)` resolves when it is time.
export async function getPatiently(url, untilNextTry) {
  for (let tries = 1; ; tries += 1) {
    try {
      return await getJson(url);
    } catch (problem) {
      if (problem.status !== 503 || tries === MOST_TRIES) throw problem;
      await untilNextTry(problem);
    }
  }
}
