// Answers, whole and streamed, and errors.

import OpenAI from "openai";
import { client, fault, tell, user } from "./asking.mjs";

const model = "haiku";
const LINE_ENDS = "one\u2028two\u2029three\u0085four 🦀";

await tell("chat", {
  whole: async (mark) => {
    const { choices, usage } = await client.chat.completions.create({ model, messages: [user(mark, { text: "Good morning" })] });
    return { message: choices[0].message, reason: choices[0].finish_reason, usage };
  },

  streamed: async (mark) => {
    const chunks = await client.chat.completions.create({
      model,
      messages: [user(mark, { chunks: ["Good ", "morn", "ing"] })],
      stream: true,
      stream_options: { include_usage: true },
    });
    const pieces = [];
    let reason, usage;
    for await (const chunk of chunks) {
      pieces.push(chunk.choices[0]?.delta.content ?? "");
      reason = chunk.choices[0]?.finish_reason ?? reason;
      usage = chunk.usage ?? usage;
    }
    return { pieces: pieces.filter(Boolean), reason, usage };
  },

  helper: async (mark) => {
    const stream = client.chat.completions.stream({ model, messages: [user(mark, { chunks: ["Good ", "morning"] })] });
    const deltas = [];
    stream.on("content.delta", ({ delta }) => deltas.push(delta));
    const { choices } = await stream.finalChatCompletion();
    return { deltas: deltas.filter(Boolean), content: choices[0].message.content, reason: choices[0].finish_reason };
  },

  lineEnds: async (mark) => {
    const stream = client.chat.completions.stream({ model, messages: [user(mark, { chunks: [...LINE_ENDS] })] });
    return { same: (await stream.finalContent()) === LINE_ENDS };
  },

  left: async (mark) => {
    const chunks = await client.chat.completions.create({
      model,
      messages: [user(mark, { tokens: 600, pause: 0.1 })],
      stream: true,
    });
    let seen = 0;
    for await (const chunk of chunks) {
      if (chunk.choices[0].delta.content && ++seen === 3) break; // which aborts the request
    }
    return { seen, aborted: chunks.controller.signal.aborted };
  },

  models: async () => {
    const ids = [];
    for await (const listed of client.models.list()) ids.push(listed.id);
    return { ids, one: (await client.models.retrieve("haiku")).id };
  },

  brokenOff: async (mark) => {
    const pieces = [];
    const error = await fault(async () => {
      const messages = [user(mark, { text: "It goes well so far", error_after: 3, error_type: "api_error" })];
      for await (const chunk of await client.chat.completions.create({ model, messages, stream: true })) {
        pieces.push(chunk.choices[0]?.delta.content ?? "");
      }
    });
    return { said: pieces.join(""), error };
  },

  badRequest: () => fault(() => client.chat.completions.create({ model, messages: [] })),

  unknownModel: (mark) => fault(() => client.chat.completions.create({ model: "llama-3", messages: [user(mark, {})] })),

  wrongKey: (mark) => {
    const other = new OpenAI({ baseURL: process.env.BASE_URL, apiKey: "sk-wrong", maxRetries: 0 });
    return fault(() => other.chat.completions.create({ model, messages: [user(mark, {})] }));
  },

  limited: (mark) => fault(() => client.chat.completions.create({ model, messages: [user(mark, { status: 429, retry_after: 7 })] })),
});
