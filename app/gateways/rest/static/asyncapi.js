// Shows the AsyncAPI document for people. Everything comes from this hub, as text: nothing in it is taken as HTML.
"use strict";

function element(name, text, ...inner) {
  const made = document.createElement(name);
  if (text) made.textContent = text.replaceAll("`", "");
  made.append(...inner);
  return made;
}

function table(heads, rows) {
  const body = rows.map((row) =>
    element("tr", "", ...row.map((cell) => (cell instanceof Node ? element("td", "", cell) : element("td", String(cell))))));
  return element("table", "",
    element("thead", "", element("tr", "", ...heads.map((head) => element("th", head)))),
    element("tbody", "", ...body));
}

// Follows a reference within the document: "#/components/schemas/Name".
function find(whole, value) {
  while (value && value.$ref) {
    value = value.$ref.slice(2).split("/").reduce((at, part) => at[part], whole);
  }
  return value;
}

function nameOf(reference) {
  return reference.$ref.split("/").at(-1);
}

function type(schema) {
  if (schema.$ref) return nameOf(schema);
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" or ");
  if (schema.anyOf) return schema.anyOf.map(type).join(" or ");
  if (Array.isArray(schema.items)) return "[" + schema.items.map(type).join(", ") + "]";
  if (schema.items) return "list of " + type(schema.items);
  return schema.type || "anything";
}

function fields(schema) {
  const needed = new Set(schema.required || []);
  return table(["field", "type", "there", "meaning"],
    Object.entries(schema.properties || {}).map(([name, one]) =>
      [element("code", name), type(one), needed.has(name) ? "always" : "may be", one.description || ""]));
}

// Those that a schema names, and those that these name, each once.
function named(whole, schema, found = new Map()) {
  for (const reference of JSON.stringify(schema).match(/"#\/components\/schemas\/\w+"/g) || []) {
    const name = reference.slice(1, -1).split("/").at(-1);
    if (!found.has(name)) {
      found.set(name, whole.components.schemas[name]);
      named(whole, found.get(name), found);
    }
  }
  return found;
}

function showMessage(whole, message) {
  const shown = element("details", "",
    element("summary", "", element("strong", message.title), element("span", message.summary)));
  if (message.payload.schemaFormat) {
    shown.append(element("p", message.contentType), element("pre", message.payload.schema));
    return shown;
  }
  const schema = find(whole, message.payload);
  for (const example of message.examples || []) {
    shown.append(element("pre", JSON.stringify(example.payload)));
  }
  shown.append(fields(schema));
  if (message.name !== "batch") {
    for (const [name, inner] of named(whole, schema)) shown.append(element("h4", name), fields(inner));
  }
  return shown;
}

function showQuery(query) {
  return table(["parameter", "default", "meaning"],
    Object.entries(query.properties).map(([name, one]) =>
      [element("code", name), one.default || "", one.description + (one.examples ? " " + one.examples.join(", ") : "")]));
}

function showChannel(whole, name, channel) {
  const shown = element("section", "", element("h2", channel.title + ": " + channel.address), element("p", channel.description));
  shown.id = name;
  shown.append(table(["address", "what it is"], channel.servers.map((reference) => {
    const server = find(whole, reference);
    const host = server.host.replace(/\{(\w+)\}/g, (_, variable) => server.variables[variable].default);
    return [element("code", server.protocol + "://" + host + channel.address), server.description];
  })));
  const bindings = channel.bindings || {};
  if (bindings.ws) shown.append(element("h3", "Parameters of the address"), showQuery(bindings.ws.query));
  if (channel["x-subprotocols"]) {
    shown.append(element("h3", "Subprotocols"), element("p", channel["x-subprotocols"].join(", ")));
  }
  for (const operation of Object.values(whole.operations)) {
    if (find(whole, operation.channel) !== channel) continue;
    shown.append(element("h3", (operation.action === "receive" ? "You ask: " : "You get: ") + operation.title), element("p", operation.summary));
    const http = (operation.bindings || {}).http;
    if (http) shown.append(showQuery(http.query));
    const replies = operation.reply ? operation.reply.messages : [];
    for (const reference of [...operation.messages, ...replies]) shown.append(showMessage(whole, find(whole, reference)));
  }
  if (channel["x-close-codes"]) {
    shown.append(element("h3", "How a connection ends"), table(["code", "name", "meaning", "come back?"],
      channel["x-close-codes"].map((one) => [one.code, one.name, one.meaning, one.come_back ? "yes" : "no"])));
  }
  return shown;
}

function show(whole) {
  const page = document.getElementById("page");
  const links = Object.entries(whole.channels).map(([name, channel]) => {
    const link = element("a", channel.title);
    link.href = "#" + name;
    return link;
  });
  const raw = element("a", "asyncapi.json");
  raw.href = "../asyncapi.json";
  const rest = element("a", "REST");
  rest.href = "../docs";
  page.replaceChildren(
    element("h1", whole.info.title + " " + whole.info.version),
    element("p", whole.info.description),
    element("nav", "", ...links, rest, raw),
    ...Object.entries(whole.channels).map(([name, channel]) => showChannel(whole, name, channel)));
}

window.addEventListener("load", async () => {
  try {
    const answer = await fetch("../asyncapi.json");
    if (!answer.ok) throw new Error("HTTP " + answer.status);
    show(await answer.json());
  } catch (error) {
    document.getElementById("page").textContent = "The document could not be shown: " + error.message;
  }
});
