// The broker's REST API.
import { toast } from "./dom.js";

/** The `data` of an answer; throws an Error whose message is for people, with the `status` of a refusal. */
export async function call(method, path, body) {
  let response;
  try {
    response = await fetch("/api/v4" + path, {
      method,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new Error("The broker does not answer.");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok || answer.code) throw Object.assign(new Error(answer.message || `The broker refused: ${response.status}.`), { status: response.status });
  return answer.data;
}

/** For what is asked again and again: an error gives undefined; that the broker is away shows in the head of the page. */
export const poll = (path) => call("GET", path).catch(() => undefined);

/** The same as `call`; an error is shown and gives undefined. */
export async function attempt(method, path, body) {
  try {
    return (await call(method, path, body)) ?? true;
  } catch (error) {
    toast(error.message);
    return undefined;
  }
}
