// Comfort only: every page works without it.
"use strict";

const all = (selector, root = document) => root.querySelectorAll(selector);
document.documentElement.classList.add("scripted");

// --- times in the reader's zone -------------------------------------------------------------------------

const MOMENT = new Intl.DateTimeFormat(undefined, {
  day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", timeZoneName: "short",
});

const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });

function localize(root) {
  for (const label of all("[data-clock]", root)) {
    label.textContent = label.textContent.replace(/^\d\d:\d\d/, CLOCK.format(new Date(label.dataset.clock)));
  }
  for (const time of all("time[data-moment]", root)) time.textContent = MOMENT.format(new Date(time.dateTime));
  for (const time of all("time[data-title]", root)) time.title = MOMENT.format(new Date(time.dateTime));
}

// --- copy, show -----------------------------------------------------------------------------------------

async function copy(button) {
  const source = document.getElementById(button.dataset.copy);
  const items = [...source.children];
  const text = items.length ? items.map((item) => item.textContent).join("\n") : source.textContent;
  const label = button.querySelector("span");
  const before = label.textContent;
  try {
    await navigator.clipboard.writeText(text);
    label.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(source); // so that the reader can copy it
    label.textContent = "Selected";
  }
  announce(label.textContent);
  setTimeout(() => { label.textContent = before; }, 2000);
}

function reveal(button) {
  const field = document.getElementById(button.dataset.reveal);
  const shown = field.type === "password";
  field.type = shown ? "text" : "password";
  button.setAttribute("aria-pressed", String(shown));
  button.firstChild.textContent = shown ? "Hide" : "Show";
}

function announce(text) {
  let place = document.getElementById("announced");
  if (!place) {
    place = Object.assign(document.createElement("p"), { id: "announced", className: "out-of-sight" });
    place.setAttribute("role", "status");
    document.body.append(place);
  }
  place.textContent = text;
}

// --- lists that follow their filter ---------------------------------------------------------------------

let asked = 0;

async function follow(form) {
  const turn = ++asked;
  const fields = [...new FormData(form)].filter(([, value]) => value !== "");
  const address = `${form.getAttribute("action")}?${new URLSearchParams(fields)}`;
  const answer = await fetch(address, { headers: { accept: "text/html" } }).catch(() => null);
  if (!answer?.ok || answer.redirected || turn !== asked) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const found = page.getElementById("results");
  if (!found || turn !== asked) return;
  localize(found);
  document.getElementById("results").replaceWith(found);
  document.documentElement.classList.add("scripted");
  history.replaceState(null, "", address);
  const rows = all("tbody tr", found).length;
  announce(rows ? `${rows} shown` : "Nothing fits");
}

// --- the playground -------------------------------------------------------------------------------------

async function stream(form) {
  const place = document.getElementById(form.dataset.stream);
  const figures = document.getElementById(`${form.dataset.stream}-figures`);
  const [ask, stop] = [form.querySelector(".primary"), form.querySelector("[data-stop]")];
  const giving = new AbortController();
  const began = performance.now();
  stop.onclick = () => giving.abort();
  ask.disabled = true;
  stop.hidden = false;
  place.textContent = "";
  place.setAttribute("aria-busy", "true");
  figures.textContent = "";
  try {
    const answer = await fetch(form.getAttribute("action"), {
      method: "POST",
      headers: { accept: "text/event-stream" },
      body: new URLSearchParams(new FormData(form)),
      signal: giving.signal,
    });
    if (!(answer.headers.get("content-type") ?? "").startsWith("text/event-stream")) {
      const told = await answer.json().catch(() => null);
      throw new Error(told?.error?.message ?? `The gateway answered ${answer.status}.`);
    }
    let first = null;
    for await (const event of events(answer.body)) {
      if (event.error) throw new Error(event.error.message);
      const text = event.choices?.[0]?.delta?.content;
      if (text) {
        first ??= performance.now() - began;
        place.append(text);
      }
      if (event.usage) {
        const tokens = `${event.usage.prompt_tokens} tokens in, ${event.usage.completion_tokens} out`;
        figures.textContent = `${tokens}; first after ${Math.round(first ?? 0)} ms, all after ${Math.round(performance.now() - began)} ms`;
      }
    }
  } catch (fault) {
    figures.textContent = fault.name === "AbortError" ? "Stopped." : fault.message;
  } finally {
    place.removeAttribute("aria-busy");
    ask.disabled = false;
    stop.hidden = true;
  }
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (line.startsWith("data: ") && line !== "data: [DONE]") yield JSON.parse(line.slice(6));
    }
  }
}

// --- the token of a one-time link, which a browser sends to nobody ----------------------------------------

for (const form of all("form[data-token]")) {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token) {
    const field = document.getElementById(form.dataset.token);
    field.value = token;
    field.closest(".field").hidden = true;
    history.replaceState(null, "", location.pathname);
  }
}

// --- who listens ----------------------------------------------------------------------------------------

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.dataset.copy) copy(button);
  if (button?.dataset.reveal) reveal(button);
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && location.hash === "#menu") location.hash = "#content";
});

for (const form of all("form[data-follow]")) {
  let waiting;
  form.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(follow, 250, form);
  });
}

for (const form of all("form[data-stream]")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    stream(form);
  });
}

// A form is sent once, however often its button is pressed.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post" || form.dataset.stream) return;
  if (form.dataset.sent) event.preventDefault();
  form.dataset.sent = "yes";
});

addEventListener("pageshow", () => {
  for (const form of all("form[data-sent]")) delete form.dataset.sent;
});

localize(document);
