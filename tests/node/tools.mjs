// Tools that this program runs: their calls whole and streamed, their results, and the client's own loop over them.

import { zodFunction } from "openai/helpers/zod";
import { z } from "zod";
import { call, client, tell, user } from "./asking.mjs";

const model = "haiku";
const weather = {
  type: "function",
  function: {
    name: "get_weather",
    description: "The weather of a city",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
};
const clock = { type: "function", function: { name: "clock" } };
const tools = [weather, clock];

const parallel = (then) => ({
  text: "Let me see. ",
  tools: [call("get_weather", { city: "Paris" }), call("get_weather", { city: '"Łódź" ✨' }), call("clock")],
  then,
});
const fine = { text: "It is fine." };

const results = (calls) => calls.map(({ id }, number) => ({ role: "tool", tool_call_id: id, content: `${number} degrees` }));
const shown = (calls) => calls.map((made) => [made.function.name, JSON.parse(made.function.arguments)]);

/** The next turn: the answer as the client gave it, and the results in another order than the calls. */
async function next(question, message) {
  const messages = [question, message, ...results(message.tool_calls).reverse()];
  const { choices } = await client.chat.completions.create({ model, tools, messages });
  return { calls: shown(message.tool_calls), content: message.content, then: choices[0].message.content };
}

/** Functions for the client's loop. One of them fails in a way that the model is told of. */
function functions(done) {
  const count = { type: "function", function: {
    name: "count", parse: JSON.parse, parameters: { type: "object", properties: { n: { type: "integer" } } },
    function: ({ n }) => (done.push(n), n === 2 ? "error: two is out of order" : { counted: n }),
  } };
  const add = zodFunction({
    name: "add", description: "Adds", parameters: z.object({ a: z.number(), b: z.number() }),
    function: ({ a, b }) => (done.push([a, b]), String(a + b)),
  });
  return [count, add];
}

const rounds = [1, 2, 3, 4, 5, 6].reduceRight(
  (then, n) => ({ tools: [call("count", { n }), call("add", { a: n, b: 0.5 })], then }),
  { text: "Counted." },
);

await tell("tools", {
  whole: async (mark) => {
    const question = user(mark, parallel(fine));
    const { choices } = await client.chat.completions.create({ model, tools, messages: [question] });
    return { reason: choices[0].finish_reason, ...(await next(question, choices[0].message)) };
  },

  streamed: async (mark) => {
    const question = user(mark, parallel(fine));
    const message = { role: "assistant", content: "", tool_calls: [] };
    const pieces = [0, 0, 0];
    for await (const { choices } of await client.chat.completions.create({ model, tools, messages: [question], stream: true })) {
      message.content += choices[0].delta.content ?? "";
      for (const { index, id, type, function: made } of choices[0].delta.tool_calls ?? []) {
        message.tool_calls[index] ??= { id, type, function: { name: made.name, arguments: "" } };
        message.tool_calls[index].function.arguments += made.arguments ?? "";
        pieces[index] += 1;
      }
    }
    return { pieces, ...(await next(question, message)) };
  },

  helper: async (mark) => {
    const question = user(mark, parallel(fine));
    const stream = client.chat.completions.stream({ model, tools, messages: [question] });
    const done = [];
    stream.on("tool_calls.function.arguments.done", ({ name, arguments: given }) => done.push([name, JSON.parse(given)]));
    const { choices } = await stream.finalChatCompletion();
    return { done, reason: choices[0].finish_reason, ...(await next(question, choices[0].message)) };
  },

  oneAtATime: async (mark) => {
    const fields = { model, tools, parallel_tool_calls: false, tool_choice: "required" };
    const { choices } = await client.chat.completions.create({ ...fields, messages: [user(mark, { tools: [call("clock")] })] });
    return { calls: shown(choices[0].message.tool_calls), reason: choices[0].finish_reason };
  },

  loop: async (mark) => {
    const done = [];
    const runner = client.chat.completions.runTools({ model, tools: functions(done), messages: [user(mark, rounds)] });
    return { content: await runner.finalContent(), done, answers: runner.allChatCompletions().length };
  },

  streamedLoop: async (mark) => {
    const done = [];
    const asked = { model, stream: true, tools: functions(done), messages: [user(mark, rounds)] };
    const runner = client.chat.completions.runTools(asked);
    return { content: await runner.finalContent(), done, answers: runner.allChatCompletions().length };
  },
});
