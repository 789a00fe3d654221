// The page's side of the chat: one WebSocket for the messages, one EventSource for the clock.
"use strict";

const byId = (id) => document.getElementById(id);
const [state, clock, messages, form, nameField, textField] =
  ["state", "clock", "messages", "say", "name", "text"].map(byId);

const TIME = new Intl.DateTimeFormat([], { timeStyle: "short" });
const TIME_WITH_SECONDS = new Intl.DateTimeFormat([], { timeStyle: "medium" });
const LONGEST_WAIT = 30_000;

let socket;
let wait = 500;
let retry = 0;

function element(tag, content, className = "") {
  const made = document.createElement(tag);
  made.textContent = content; // as text, never as HTML: others wrote it
  made.className = className;
  return made;
}

function show({ name, text, time }) {
  const item = document.createElement("li");
  if (name === nameField.value.trim()) item.className = "mine";
  const when = element("time", TIME.format(new Date(time)));
  when.dateTime = time;
  item.append(element("b", name), when, element("p", text));
  // Follow the talk, but do not pull away somebody who reads further up.
  const isAtEnd = messages.scrollHeight - messages.scrollTop - messages.clientHeight < 80;
  messages.append(item);
  if (isAtEnd) messages.scrollTop = messages.scrollHeight;
}

function connect() {
  clearTimeout(retry);
  const url = new URL("/talk", location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  url.searchParams.set("name", nameField.value.trim());
  const opened = new WebSocket(url);
  socket = opened;
  opened.onopen = () => {
    wait = 500;
    messages.replaceChildren(); // the server sends what was said before
  };
  opened.onmessage = (event) => {
    if (socket !== opened) return; // replaced by one with another name
    const message = JSON.parse(event.data);
    if (message.kind === "said") show(message);
    else state.textContent = message.count === 1 ? "you are alone here" : `${message.count} people here`;
  };
  opened.onclose = () => {
    if (socket !== opened) return;
    // The server has gone, perhaps to come back with new code: try again, each time a little later.
    state.textContent = "connection lost, trying again …";
    retry = setTimeout(connect, wait);
    wait = Math.min(wait * 2, LONGEST_WAIT);
  };
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = textField.value.trim();
  if (!text || socket.readyState !== WebSocket.OPEN) return; // the text stays for the next try
  socket.send(text);
  textField.value = "";
});

nameField.addEventListener("change", () => {
  try {
    localStorage.setItem("name", nameField.value.trim());
  } catch {
    // Without storage the name is forgotten with the page.
  }
  const old = socket;
  connect();
  old.close();
});

try {
  nameField.value = localStorage.getItem("name") ?? "";
} catch {
  // As above.
}
nameField.value ||= `Guest ${Math.floor(Math.random() * 900) + 100}`;
connect();

function watchClock() {
  const ticks = new EventSource("/clock"); // comes back by itself when the server ends it
  ticks.onmessage = (event) => {
    clock.dateTime = event.data;
    clock.textContent = TIME_WITH_SECONDS.format(new Date(event.data));
  };
  ticks.onerror = () => {
    // After an answer such as 503 it gives up; we do not.
    if (ticks.readyState === EventSource.CLOSED) setTimeout(watchClock, 5_000);
  };
}

watchClock();
